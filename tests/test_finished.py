"""The plugin behind `make test-long`: what passed is not run again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUITE = """
import os, pytest

@pytest.mark.parametrize("case", [1, 2, 3])
def test_number(case):
    assert case != int(os.environ["BROKEN"])
"""


def run(folder: Path, *arguments: str, broken: int = 0) -> str:
    (folder / "test_suite.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-p", "support.finished", "-c", os.devnull, "test_suite.py", *arguments]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": paths, "BROKEN": str(broken)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("processes", [(), ("-n", "2")])
def test_what_passed_is_skipped_and_what_failed_runs_again(tmp_path: Path, processes: tuple[str, ...]) -> None:
    kept = ("--finished=kept.json", *processes)
    assert "1 failed, 2 passed" in run(tmp_path, *kept, broken=2)
    again = run(tmp_path, *kept)
    assert "1 passed, 2 skipped" in again
    assert "2 passed before" in again
    assert "3 skipped" in run(tmp_path, *kept, broken=1)


def test_the_first_case_of_each_test(tmp_path: Path) -> None:
    assert "1 failed" in run(tmp_path, "--first-cases", broken=1)
    assert "1 passed" in run(tmp_path, "--first-cases", broken=2)
