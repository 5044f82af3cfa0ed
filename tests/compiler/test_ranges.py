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


CARRIED = """
(float[batch, length, 4] x) => (float[batch, 4] exit_1, float[batch, 4] logits)
{
  axes = Constant<value_ints = [1]>()
  exit_1 = ReduceMean<keepdims = 0>(x, axes)
  size = Shape<start = 1, end = 2>(x)
  one = Constant<value_ints = [1]>()
  shape = Concat<axis = 0>(one, size, one)
  h = Relu(exit_1)
  row = Unsqueeze(h, axes)
  wide = Expand(row, shape)
  logits = ReduceSum<keepdims = 0>(wide, axes)
}
"""


def cut(graph: str, folder: Path):
    """The model's inputs, the segments' contracts, and their files."""
    exit_model = from_elsewhere(ir.from_proto(parse(graph)), "model.onnx", {"path": "model.onnx"})
    specs = exit_model.input_specs()
    segments = [segment_passes(part) for part in split_at_exits(model_passes(exit_model, PassOptions()), 4)]
    files = [folder / f"{place}.onnx" for place in range(len(segments))]
    for segment, file in zip(segments, files, strict=True):
        ir.save(segment.model, file)
    return specs, [segment.contract for segment in segments], files


def stages_of(contracts, files):
    runners = [OnnxRuntimeBackend().load(Engine("onnxruntime", "cpu", "fp32", file)) for file in files]
    return [*map(Stage, contracts, runners)]


def test_the_boundarys_sizes_follow_from_the_inputs(tmp_path: Path) -> None:
    """A convolution makes `samples` something else."""
    specs, contracts, files = cut(SOUND, tmp_path)
    ranges = boundary_ranges(contracts, stages_of(contracts, files), specs, {"samples": (3, 41, 101)})
    (name,) = set(ranges) - {"samples"}
    assert ranges == {"samples": (3, 41, 101), name: (1, 20, 50)}

    for file in files:
        assert TensorRtRtx().build(file, BuildOptions(max_batch=4, dims=ranges), tmp_path).path.exists()
    with pytest.raises(UsageError, match=f"dimension '{name}'"):
        TensorRtRtx().build(files[1], BuildOptions(max_batch=4, dims={"samples": (3, 41, 101)}), tmp_path)


def test_a_size_that_is_carried_as_a_value_has_its_values_range(tmp_path: Path) -> None:
    specs, contracts, files = cut(CARRIED, tmp_path)
    (carried,) = [spec.name for spec in contracts[1].inputs if spec.batch_axis is None]
    ranges = boundary_ranges(contracts, stages_of(contracts, files), specs, {"length": (2, 5, 9)})
    assert ranges == {"length": (2, 5, 9), carried: (2, 5, 9)}
    for file in files:
        assert TensorRtRtx().build(file, BuildOptions(max_batch=4, dims=ranges), tmp_path).path.exists()
