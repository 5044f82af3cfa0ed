from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from support.onnx_text import parse

from etbac.compiler import CompileOptions, compile_model
from etbac.frontend.load import load_model
from etbac.planner.plan import plan
from etbac.profiles import profiler

PICTURES = """(float[batch, 1, 4, 4] image, float[16, 3] early, float[16, 3] late)
=> (float[batch, 3] exit_1, float[batch, 3] prediction)
{
    flat = Flatten <axis = 1> (image)
    seen = Tanh (flat)
    exit_1 = MatMul (seen, early)
    again = Neg (seen)
    prediction = MatMul (again, late)
}"""


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory without a plan or a profile, beside `data.npz` for it."""
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    late = 4 * rng.standard_normal((16, 3)).astype(np.float32)
    early = -late + 0.2 * rng.standard_normal((16, 3)).astype(np.float32)
    model = parse(PICTURES)
    del model.graph.input[1:]
    for name, weights in {"early": early, "late": late}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(weights, name))
    onnx.save(model, folder / "model.onnx")
    compile_model(load_model(folder / "model.onnx"), folder / "engines", CompileOptions(max_batch=8))
    images = rng.standard_normal((3_000, 1, 4, 4)).astype(np.float32)
    labels = (-np.tanh(images.reshape(-1, 16)) @ late).argmax(axis=1)
    labels[::10] = (labels[::10] + 1) % 3
    np.savez(folder / "data.npz", image=images, labels=labels)
    return folder / "engines"


@pytest.fixture(scope="session")
def complete(compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with all that a report says, beside `data.npz`."""
    folder = tmp_path_factory.mktemp("complete")
    engines = Path(shutil.copytree(compiled, folder / "engines"))
    shutil.copy(compiled.parent / "data.npz", folder)
    profiler.profile(engines, budget_s=0.2)
    plan(engines, 0.95, data=folder / "data.npz", metric="accuracy")
    return engines
