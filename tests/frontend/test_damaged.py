"""Damaged and hostile ONNX files: each ends in one clear error, harms no process and touches no file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.damaged_files import DAMAGES, DamagedFile, damaged_file

TESTS = Path(__file__).parents[1]
WORKER = TESTS / "support" / "load_worker.py"
QUICK, LONG = 100, 500
MAX_MEGABYTES = 2048
"""The frontend gives the process that checks a file 1 GB and four times the file's size; a bomb asks for 8 GB."""


@dataclass
class Endings:
    """What a worker said: how each file ended; `unfinished`: the file at which the process died."""

    ends: dict[str, dict[str, Any]] = field(default_factory=dict)
    unfinished: str | None = None
    peak_megabytes: int = 0
    errors: str = ""


def _work(files: Sequence[DamagedFile], *, here: bool) -> Endings:
    arguments = [*(["--here"] if here else []), *(str(file.path) for file in files)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    child = subprocess.run(
        [sys.executable, str(WORKER), *arguments], capture_output=True, text=True, env=environment, check=False
    )
    endings = Endings(errors=child.stderr[-2000:])
    for line in map(json.loads, child.stdout.splitlines()):
        if "starts" in line:
            endings.unfinished = line["starts"]
        elif "ends" in line:
            endings.ends[line["ends"]] = line
            endings.unfinished = None
        else:
            endings.peak_megabytes = line["peak_megabytes"]
    assert endings.ends or endings.unfinished, endings.errors
    return endings


def _everything_under(folder: Path) -> dict[str, tuple[int, int, bytes | None]]:
    """Mode, time of change and content of every file."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        plain = path.is_file() and not path.is_symlink()
        found[str(path)] = (status.st_mode, status.st_mtime_ns, path.read_bytes() if plain else None)
    return found


def _problem(file: DamagedFile, ending: dict[str, Any]) -> str | None:
    """What is wrong with how the compiler took a file."""
    if ending["how"] == "compiled":
        return None if file.harmless else "was compiled"
    message = ending["message"]
    if ending["how"] != "refused":
        return f"raised {ending['how']}: {message[:300]}"
    if not message.strip() or "\n" in message or "Traceback" in message or len(message) > 1500:
        return f"has no clear message: {message[:300]!r}"
    return None


def _check(files: Sequence[DamagedFile], endings: Endings) -> None:
    problems = {
        f"{file.path.parent.name}: {problem}"
        for file in files
        if (problem := _problem(file, endings.ends[str(file.path)])) is not None
    }
    assert not problems, "\n".join(sorted(problems))
    assert endings.peak_megabytes < MAX_MEGABYTES


def test_damaged_files_end_in_one_clear_error(tmp_path: Path) -> None:
    bomb = list(DAMAGES).index("memory_bomb")
    files = [damaged_file(number, tmp_path) for number in range(QUICK) if number % len(DAMAGES) != bomb]
    before = _everything_under(tmp_path)
    endings = _work(files, here=True)
    assert endings.unfinished is None, f"{endings.unfinished}: the process died; {endings.errors}"
    _check(files, endings)
    assert _everything_under(tmp_path) == before


def test_outside_data_and_a_memory_bomb_are_refused_by_the_frontend_itself(tmp_path: Path) -> None:
    kinds = [kind for kind in DAMAGES if kind.startswith("outside_") or kind == "memory_bomb"]
    files = [damaged_file(list(DAMAGES).index(kind), tmp_path) for kind in kinds]
    before = _everything_under(tmp_path)
    endings = _work(files, here=False)
    assert endings.unfinished is None, f"{endings.unfinished}: the process died; {endings.errors}"
    _check(files, endings)
    assert _everything_under(tmp_path) == before


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, LONG, 50))
def test_many_damaged_files(first: int, tmp_path: Path) -> None:
    files = [damaged_file(number, tmp_path) for number in range(first, first + 50)]
    before = _everything_under(tmp_path)
    endings = _work(files, here=False)
    assert endings.unfinished is None, f"{endings.unfinished}: the process died; {endings.errors}"
    _check(files, endings)
    assert _everything_under(tmp_path) == before
