"""The program `etbac`: one click command per module, imported only when it is called."""

from __future__ import annotations

from importlib import import_module

import click

from etbac._version import __version__

COMMANDS = {
    "train": "train exits on a frozen trunk and save a checkpoint",
    "assess": "say what exits would be worth, before any is trained",
    "compile": "split a model at its exits and build the chain",
    "optimize": "compile, measure, keep the exits that pay, certify",
    "profile": "measure the inference time matrix",
    "plan": "choose exits and thresholds at a precision, and certify them",
    "run": "run inputs through the chain",
    "simulate": "say what a chain would answer under load, by its profile",
    "monitor": "say whether samples are still like those that were certified",
    "verify": "compare the chain with the full model",
    "report": "write a page: latency, precision, exits, harm and the matrix",
    "inspect": "say what a directory, checkpoint or ONNX file holds",
    "doctor": "say what this machine can run",
}


class LazyGroup(click.Group):
    """Knows every command's name and summary; the module behind it is imported on use, so `--help` stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"etbac.cli.{name}").cli
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="etbac")
def cli() -> None:
    """Compile early-exit models into a chain of engines, and run it with batch compaction.

    \b
    etbac compile resnet.pt --exits 3,7,12
    etbac profile
    etbac run --engine-dir engines
    """


def main() -> None:
    cli(prog_name="etbac")
