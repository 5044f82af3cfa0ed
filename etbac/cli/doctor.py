"""`etbac doctor`: what this machine can run, and how to install what is missing."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import click

from etbac.cli.common import Output, standard

OPTIONAL = {
    "torch": ("read and train checkpoints", "train"),
    "transformers": ("text and speech models", "train"),
    "onnx-ir": ("compile", ""),
    "pillow": ("run on folders of images", "report"),
    "matplotlib": ("plots", "report"),
}
RUNTIMES = ("onnxruntime", "onnxruntime-gpu")


@click.command("doctor", epilog="Example: etbac doctor --json")
@standard
def cli(output: Output) -> None:
    """Say which backends and optional packages work on this machine."""
    from rich.table import Table

    from etbac.backends import registry

    backends = {name: registry.get(name).available() for name in registry.names()}
    table = Table("backend", "usable", "version", "device", "found", "install")
    for name, found in backends.items():
        usable, install = ("yes", "") if found.usable else ("no", found.install)
        table.add_row(name, usable, found.version or "–", found.device, found.detail, install)

    packages = Table("package", "version", "used to", "install")
    for package, (use, extra) in OPTIONAL.items():
        found_version = installed(package)
        packages.add_row(package, found_version or "–", use, "" if found_version else install_line(package, extra))

    notes = conflicts()
    output.result(
        {
            "backends": {name: vars(found) for name, found in backends.items()},
            "packages": {package: installed(package) for package in OPTIONAL},
            "notes": notes,
        },
        table,
        packages,
        *notes,
    )


def installed(package: str) -> str | None:
    """The version of an installed distribution, without importing it; None if it is absent."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def install_line(package: str, extra: str) -> str:
    return f"pip install 'etbac[{extra}]'" if extra else f"pip install {package}"


def conflicts() -> list[str]:
    """Sentences about packages that get in each other's way."""
    if all(installed(name) for name in RUNTIMES):
        return [
            "onnxruntime and onnxruntime-gpu are both installed and overwrite one module: uninstall both, "
            "then install the one you need (pip install 'etbac[cpu]' or 'etbac[gpu]')."
        ]
    return []
