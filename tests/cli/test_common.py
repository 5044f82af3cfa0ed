from __future__ import annotations

import errno
import json
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from etbac.cli.common import Output, standard
from etbac.errors import EtbacError, UsageError, VerificationError


def run(error: BaseException | None, *arguments: str):
    @click.command()
    @standard
    def command(output: Output) -> None:
        output.note("a note")
        if error is not None:
            raise error
        output.result({"array": np.arange(2), "number": np.float32(1), "path": Path("x")}, "a line")

    return CliRunner().invoke(command, arguments)


def test_text_goes_to_stdout_and_notes_to_stderr():
    done = run(None)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "a line\n", "a note\n")


def test_json_is_one_object_on_stdout():
    assert json.loads(run(None, "--json").stdout) == {"array": [0, 1], "number": 1.0, "path": "x"}


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (EtbacError("mend it"), 1, "etbac: mend it"),
        (UsageError("ask again"), 2, "etbac: ask again"),
        (VerificationError("not the model"), 3, "etbac: not the model"),
        (KeyboardInterrupt(), 130, "etbac: interrupted; what was in place before is unchanged"),
        (OSError(errno.ENOSPC, "No space left on device", "engines/x"), 1, "etbac: no space left on device: engines/x"),
        (ZeroDivisionError("by zero"), 1, "etbac: unexpected ZeroDivisionError: by zero. Run again with --debug"),
    ],
)
def test_every_error_is_one_sentence_with_its_exit_code(error, code, says):
    done = run(error)
    assert done.exit_code == code
    note, line = done.stderr.splitlines()
    assert note == "a note"
    assert line.startswith(says)


@pytest.mark.parametrize("error", [EtbacError("x"), OSError("x"), ZeroDivisionError("x")])
def test_debug_shows_the_traceback(error):
    assert run(error, "--debug").exception is error
