from __future__ import annotations

from pathlib import Path

import pytest
from support.examples import run, unless_absent

from benchmarks.results.cutouts import write_compositions


@pytest.mark.long
def test_the_example_trains_plans_and_runs_on_cut_outs(tmp_path: Path) -> None:
    with unless_absent():
        write_compositions(tmp_path / "data", 2, most=40)
    lines = run("segmentation.py", tmp_path, str(tmp_path / "data"), "1")
    assert lines[-2].startswith("exits (")
    assert "left at [" in lines[-1]
