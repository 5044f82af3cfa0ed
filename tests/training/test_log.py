from __future__ import annotations

import csv
from pathlib import Path

import pytest

from etbac.errors import UsageError
from etbac.training.log import COLUMNS, Log


def test_lines_are_added_to_one_table(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    for epoch in (1, 2):
        Log(str(path), None).tell("exits", {"epoch": epoch, "step": 10 * epoch, "loss": 0.5, "fit_loss": 0.25})
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == COLUMNS
    assert [line["step"] for line in lines] == ["10", "20"]
    assert lines[0]["stage"] == "exits"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{tmp_path}/none does not exist"):
        Log(str(tmp_path / "none" / "log.csv"), None)
