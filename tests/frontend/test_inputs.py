from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etbac.contract import TensorSpec
from etbac.errors import UsageError
from etbac.frontend.inputs import DTYPES, InputShape, make_inputs, parse_input_shape

DIMS = st.lists(st.one_of(st.integers(0, 9), st.sampled_from(["B", "L", "seq"])), min_size=1, max_size=4)


@given(DIMS, st.sampled_from(sorted(DTYPES)), st.integers(1, 5))
def test_made_up_inputs_have_the_shape_type_and_values_that_are_promised(
    dims: list[int | str], dtype: str, batch: int
) -> None:
    spec = TensorSpec("x", dtype, ("batch", *dims), 0)
    found = make_inputs([spec], batch, np.random.default_rng(0))["x"]
    assert found.shape == (batch, *(8 if isinstance(dim, str) else dim for dim in dims))
    assert found.dtype == dtype
    assert np.isfinite(found).all()
    if found.dtype.kind in "iu":
        assert set(np.unique(found)) <= {0, 1}


def test_the_batch_may_stand_on_any_axis_or_on_none() -> None:
    specs = [TensorSpec("t", "float32", ("T", "batch", 3), 1), TensorSpec("s", "float32", (), None)]
    found = make_inputs(specs, 5, np.random.default_rng(0))
    assert found["t"].shape == (8, 5, 3)
    assert found["s"].shape == ()


def test_floats_are_standard_normal_and_a_seed_repeats_them() -> None:
    spec = TensorSpec("x", "float32", ("batch", 100), 0)
    first, second = (make_inputs([spec], 100, np.random.default_rng(3))["x"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert abs(first.mean()) < 0.05
    assert abs(first.std() - 1) < 0.05


@pytest.mark.parametrize(
    ("text", "name", "shape", "batch_axis"),
    [
        ("image:Bx3x224x224", "image", InputShape(("B", 3, 224, 224)), 0),
        ("ids:BxL:int64", "ids", InputShape(("B", "L"), "int64"), 0),
        ("x:[B,3,4]:float32", "x", InputShape(("B", 3, 4), "float32"), 0),
        ("x:TxBx3", "x", InputShape(("T", "B", 3)), 1),
        ("x:Nx3", "x", InputShape(("N", 3)), 0),
        ("x:5", "x", InputShape((5,)), None),
    ],
)
def test_a_typed_shape_is_read(text: str, name: str, shape: InputShape, batch_axis: int | None) -> None:
    assert parse_input_shape(text) == (name, shape)
    assert shape.batch_axis == batch_axis


@pytest.mark.parametrize("text", ["x", "x:", ":3", "x:Bx-1", "x:Bx3:float31", "x:Bxx3", "x:B 3", ""])
def test_a_mistyped_shape_is_answered_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="like image:Bx3x224x224"):
        parse_input_shape(text)
