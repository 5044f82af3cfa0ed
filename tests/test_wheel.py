"""The wheel runs a compiled directory with numpy, click, rich and onnxruntime alone."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from support.two_blocks import make_engine_dir

ROOT = Path(__file__).parent.parent
NEEDED = ("numpy", "click", "rich", "onnxruntime")


@pytest.mark.long
def test_a_bare_environment_gives_the_same_answers(tmp_path: Path) -> None:
    engines = make_engine_dir(tmp_path / "engines").path
    subprocess.run([sys.executable, "-m", "build", "--wheel", "-o", tmp_path, ROOT], check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "bare"], check=True)
    pip = [tmp_path / "bare" / "bin" / "pip", "install", "-q"]
    subprocess.run([*pip, *(f"{name}=={version(name)}" for name in NEEDED)], check=True)
    subprocess.run([*pip, "--no-deps", next(tmp_path.glob("etbac-*.whl"))], check=True)

    here = answers(Path(sys.executable).parent / "etbac", engines, tmp_path / "here.npz")
    bare = answers(tmp_path / "bare" / "bin" / "etbac", engines, tmp_path / "bare.npz")
    assert here.keys() == bare.keys()
    for name, array in here.items():
        np.testing.assert_array_equal(array, bare[name])


def answers(program: Path, engines: Path, output: Path) -> dict[str, np.ndarray]:
    command = [program, "run", "--engine-dir", engines, "--threshold", "0.5", "--output", output]
    subprocess.run(command, check=True, cwd=output.parent)
    with np.load(output) as found:
        return dict(found)
