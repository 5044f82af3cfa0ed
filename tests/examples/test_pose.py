from __future__ import annotations

from pathlib import Path

import pytest
from support.examples import run

from benchmarks.results.figures import write_figures


@pytest.mark.long
def test_the_example_trains_plans_and_runs_on_rendered_figures(tmp_path: Path) -> None:
    write_figures(tmp_path / "data", 90, 6)
    lines = run("pose.py", tmp_path, str(tmp_path / "data"), "1")
    assert lines[-5].startswith("exits (")
    for line in lines[-4:]:
        assert line.startswith("left at ")
        assert "left wrist " in line
