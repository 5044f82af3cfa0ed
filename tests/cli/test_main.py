from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest
from click.testing import CliRunner

from etbac.cli.main import COMMANDS, cli

HEAVY = ("numpy", "onnx", "onnxruntime", "torch", "rich")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name):
    done = CliRunner().invoke(cli, [name, "--help"])
    assert done.exit_code == 0
    assert f"etbac {name}" in done.stdout
    assert import_module(f"etbac.cli.{name}").cli.name in (name, "cli")


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from etbac.cli.main import cli\n"
        "try: cli(['--help'])\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_unknown_command_is_wrong_usage():
    assert CliRunner().invoke(cli, ["fly"]).exit_code == 2
