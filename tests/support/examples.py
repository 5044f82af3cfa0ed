"""The scripts of examples/, run as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(script: str, place: Path, *arguments: str) -> list[str]:
    """The lines that examples/`script` prints in the folder `place`; what it says where it fails is the failure."""
    command = [sys.executable, str(ROOT / "examples" / script), *arguments]
    done = subprocess.run(
        command, cwd=place, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@contextmanager
def unless_absent() -> Iterator[None]:
    """A data maker of benchmarks/ that says that its data can't be had: then the test is skipped with that reason."""
    try:
        yield
    except SystemExit as reason:
        pytest.skip(str(reason))
