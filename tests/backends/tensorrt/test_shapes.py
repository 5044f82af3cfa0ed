"""Profiles, from networks as TensorRT parses them."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from support.onnx_text import parse

from etbac.backends.interface import BuildOptions
from etbac.backends.tensorrt.backend import TensorRtRtx
from etbac.backends.tensorrt.build import _parse
from etbac.backends.tensorrt.flavour import RTX
from etbac.backends.tensorrt.shapes import BATCH, POOL, Input, Shapes, profile_shapes, read_inputs
from etbac.backends.tensorrt.tools import tools
from etbac.errors import BackendRefusal, UsageError
from etbac.passes.split import segment

TOKENS = """
(float[batch, length, 4] x, float[span, 4] table) => (float[batch, 4] y)
{ axes = Constant<value_ints = [1]>()  first = Constant<value_ints = [0]>()
  a = ReduceSum<keepdims = 0>(x, axes)  b = ReduceSum(table, first)  y = Add(a, b) }
"""


def inputs_of(path: Path) -> list[Input]:
    found = tools(RTX)
    with found.quiet():
        _, network, parser = _parse(found, path)
        assert parser.num_errors == 0
        return read_inputs(network)


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    onnx.save(parse(TOKENS), tmp_path / "tokens.onnx")
    return tmp_path / "tokens.onnx"


def test_the_first_segments_batch_goes_from_one_to_the_largest(sources: list[Path]) -> None:
    shapes = profile_shapes(inputs_of(sources[0]), BuildOptions(max_batch=5), sources[0].name)
    assert shapes["image"] == Shapes((1, 1, 8, 8), (5, 1, 8, 8), (5, 1, 8, 8))
    assert shapes["threshold"] == Shapes((), (), ())


def test_a_later_segments_pool_is_bound_whole_and_keep_is_dynamic(sources: list[Path]) -> None:
    for source in sources[1:]:
        shapes = profile_shapes(inputs_of(source), BuildOptions(max_batch=5), source.name)
        (boundary,) = set(shapes) - {"keep", "threshold"}
        assert shapes["keep"] == Shapes((1,), (5,), (5,))
        assert shapes[boundary] == Shapes(*[(5, 8, 8, 8)] * 3)


def test_the_splitters_names_are_the_profiles() -> None:
    assert (BATCH, POOL) == (segment.ROWS, segment.SLOTS)


def test_a_models_own_dimension_called_as_the_pool_is_no_pool() -> None:
    with pytest.raises(UsageError, match="dimension 'slots' "):
        profile_shapes([Input("x", (BATCH, POOL))], BuildOptions(), "first.onnx")
    with pytest.raises(UsageError, match="dimension 'slots' "):
        profile_shapes([Input("x", (POOL, 3))], BuildOptions(), "first.onnx")


def test_further_dynamic_dimensions_have_the_ranges_asked_for(tokens: Path, tmp_path: Path) -> None:
    options = BuildOptions(max_batch=4, dims={"length": (1, 16, 64), "span": (2, 2, 2)})
    shapes = profile_shapes(inputs_of(tokens), options, tokens.name)
    assert shapes == {"x": Shapes((1, 1, 4), (4, 16, 4), (4, 64, 4)), "table": Shapes(*[(2, 4)] * 3)}
    assert TensorRtRtx().build(tokens, options, tmp_path).path.exists()


@pytest.mark.parametrize(("given", "missing"), [({}, "length"), ({"length": (1, 2, 3)}, "span")])
def test_a_dimension_without_a_range_is_named(
    tokens: Path, tmp_path: Path, given: dict[str, tuple[int, int, int]], missing: str
) -> None:
    with pytest.raises(UsageError, match=rf"tokens\.onnx: dimension '{missing}' \(axis \d of input '\w+'\) is dynamic"):
        TensorRtRtx().build(tokens, BuildOptions(dims=given), tmp_path)


@pytest.mark.parametrize("sizes", [(0, 1, 2), (3, 2, 4), (1, 5, 4)])
def test_ranges_out_of_order_are_refused(tokens: Path, tmp_path: Path, sizes: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match=r"dimension 'length': .* is not a smallest, a usual and a largest size"):
        TensorRtRtx().build(tokens, BuildOptions(dims={"length": sizes}), tmp_path)


def test_a_dynamic_dimension_without_a_name_is_called_by_its_place(tmp_path: Path) -> None:
    model = parse("(float[batch, length] x) => (float[batch, length] y) { y = Relu(x) }")
    model.graph.input[0].type.tensor_type.shape.dim[1].ClearField("dim_param")
    onnx.save(model, tmp_path / "unnamed.onnx")
    assert inputs_of(tmp_path / "unnamed.onnx") == [Input("x", ("batch", "x.1"))]


def test_a_number_that_is_read_as_a_shape_has_the_range_of_its_name(tmp_path: Path) -> None:
    graph = """(float[batch, 3] x, int64 width) => (float[batch, 3, n] y)
    { first = Constant<value_ints = [0]>()  last = Constant<value_ints = [2]>()  one = Constant<value_ints = [1]>()
      flat = Unsqueeze(width, first)  shape = Concat<axis = 0>(one, one, flat)
      wide = Unsqueeze(x, last)  y = Expand(wide, shape) }"""
    path = tmp_path / "width.onnx"
    onnx.save(parse(graph), path)
    (width,) = [each for each in inputs_of(path) if each.name == "width"]
    assert width == Input("width", (), is_shape=True)
    options = BuildOptions(max_batch=4, dims={"width": (1, 8, 16)})
    assert profile_shapes([width], options, path.name) == {"width": Shapes((1,), (8,), (16,))}
    assert TensorRtRtx().build(path, options, tmp_path).path.exists()
    with pytest.raises(BackendRefusal, match="input 'width' is read as a shape, and there is no range for its values"):
        TensorRtRtx().build(path, BuildOptions(max_batch=4), tmp_path)
