from __future__ import annotations

from pathlib import Path

import pytest
from support.examples import run

from benchmarks.results.cutouts import STAMPS, write_compositions


def test_the_example_trains_plans_and_runs_on_real_cut_outs(tmp_path: Path) -> None:
    stamps = Path("data") / STAMPS
    if not stamps.is_dir():
        pytest.skip(f"the cut-outs are not in {stamps}; `make results` fetches them")
    write_compositions(tmp_path / "data", 2, stamps, most=40)
    lines = run("segmentation.py", tmp_path, str(tmp_path / "data"), "1")
    assert lines[-2].startswith("exits (")
    assert "left at [" in lines[-1]
