from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from support.small_network import make_images, make_network

from etbac.backends.tensorrt.backend import TensorRtRtx
from etbac.compiler import CompileOptions, compile_model
from etbac.compiler.compile import Compiled
from etbac.formats import typed
from etbac.frontend.torch_export import from_module
from etbac.passes.exit_model import ExitModel, Segment
from etbac.passes.model_passes import PassOptions, model_passes, segment_passes
from etbac.passes.split import split_at_exits

MAX_BATCH = 8


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """A real chain of three segments, its weights in one file beside them."""
    folder = tmp_path_factory.mktemp("tensorrt") / "engines"
    return compile_model(exported(), folder, CompileOptions(max_batch=MAX_BATCH, samples=make_images(16)))


@pytest.fixture(scope="session")
def sources(compiled: Compiled) -> list[Path]:
    """The portable sources, in the order of the chain."""
    return [compiled.engine_dir.path / entry.file for entry in compiled.engine_dir.manifest.segments]


@pytest.fixture
def backend() -> TensorRtRtx:
    return TensorRtRtx()


def exported() -> ExitModel:
    return from_module(make_network(), make_images(2), {"path": "small", "kind": "module", "sha256": None})


def write(segments: Sequence[Segment], folder: Path, name: str) -> list[Path]:
    """One file a segment, weights beside it."""
    paths = [folder / f"{name}-{place}.onnx" for place in range(len(segments))]
    for segment, path in zip(segments, paths, strict=True):
        ir.save(segment.model, path, external_data=f"{path.stem}.bin")
    return paths


@pytest.fixture(scope="session")
def sources_in(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Sources that compute in each number format."""
    folder = tmp_path_factory.mktemp("typed")
    parts = split_at_exits(model_passes(exported(), PassOptions()), MAX_BATCH)
    segments = [segment_passes(part) for part in parts]
    images = {"image": np.concatenate([make_images(16, seed)["image"] for seed in range(8)])}
    options = TensorRtRtx().int8_options()
    return {
        name: write(typed(segments, [name] * len(segments), images, options), folder, name)
        for name in ("fp32", "fp16", "bf16", "int8")
    }
