from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest
from support.onnx_text import parse

from etbac.backends.interface import BuildOptions, Engine
from etbac.backends.onnxruntime_backend import OnnxRuntimeBackend
from etbac.backends.tensorrt.backend import TensorRtRtx
from etbac.compiler.ranges import boundary_ranges
from etbac.errors import UsageError
from etbac.frontend.exit_graph import from_elsewhere
from etbac.passes.model_passes import PassOptions, model_passes, segment_passes
from etbac.passes.split import split_at_exits
from etbac.runtime.stage import Stage

SOUND = """
(float[batch, 1, samples] sound) => (float[batch, 3] exit_1, float[batch, 3] logits)
<float[4, 1, 3] first = {1,2,3,4,5,6,7,8,9,1,2,3}, float[4, 4, 1] second = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7},
 float[4, 3] head = {1,2,3,4,5,6,7,8,9,1,2,3}>
{
  a = Conv<strides = [2]>(sound, first)
  h = Relu(a)
  axes = Constant<value_ints = [2]>()
  p = ReduceMean<keepdims = 0>(h, axes)
  exit_1 = MatMul(p, head)
  b = Conv(h, second)
  q = ReduceMean<keepdims = 0>(b, axes)
  logits = MatMul(q, head)
}
"""


@pytest.fixture
def chain(tmp_path: Path):
    """The model's inputs, the segments' contracts, and their files: a convolution makes `samples` something else."""
    exit_model = from_elsewhere(ir.from_proto(parse(SOUND)), "sound.onnx", {"path": "sound.onnx"})
    specs = exit_model.input_specs()
    segments = [segment_passes(part) for part in split_at_exits(model_passes(exit_model, PassOptions()), 4)]
    files = [tmp_path / f"{place}.onnx" for place in range(len(segments))]
    for segment, file in zip(segments, files, strict=True):
        ir.save(segment.model, file)
    return specs, [segment.contract for segment in segments], files


def test_the_boundarys_sizes_follow_from_the_inputs(chain, tmp_path: Path) -> None:
    specs, contracts, files = chain
    runners = [OnnxRuntimeBackend().load(Engine("onnxruntime", "cpu", "fp32", file)) for file in files]
    stages = [*map(Stage, contracts, runners)]
    ranges = boundary_ranges(contracts, stages, specs, {"samples": (3, 41, 101)})
    (name,) = set(ranges) - {"samples"}
    assert ranges == {"samples": (3, 41, 101), name: (1, 20, 50)}

    for file in files:
        assert TensorRtRtx().build(file, BuildOptions(max_batch=4, dims=ranges), tmp_path).path.exists()
    with pytest.raises(UsageError, match=f"dimension '{name}'"):
        TensorRtRtx().build(files[1], BuildOptions(max_batch=4, dims={"samples": (3, 41, 101)}), tmp_path)
