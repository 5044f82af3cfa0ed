from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.two_blocks import INPUTS, make_inputs

from etbac.contract import TensorSpec
from etbac.errors import InputError
from etbac.runtime.inputs import check, length_of, split, tile

IMAGE = TensorSpec("image", "float32", ("batch", 3, 4, "width"), 0)
STEPS = TensorSpec("steps", "int64", ("time", "batch"), 1)
SCALE = TensorSpec("scale", "float32", (), None)
SPECS = (IMAGE, STEPS, SCALE)


def good(rows: int = 2) -> dict[str, object]:
    return {
        "image": np.zeros((rows, 3, 4, 5), np.float32),
        "steps": np.zeros((7, rows), np.int64),
        "scale": np.float32(2),
    }


def with_nan(rows: list[int]) -> np.ndarray:
    image = np.zeros((4, 3, 4, 5), np.float32)
    image[rows, 1, 2, 3] = np.nan
    return image


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"picture": 1}, "takes the inputs image, steps, scale; found image, steps, scale, picture"),
        (
            {"image": np.zeros((2, 3, 4), np.float32)},
            r"'image' has the shape \[2, 3, 4\]; the model takes \[batch, 3, 4, width\]",
        ),
        ({"image": np.zeros((3, 4, 5), np.float32)}, r"A single sample needs a batch axis: np\.expand_dims\(x, 0\)"),
        ({"steps": np.zeros(7, np.int64)}, r"A single sample needs a batch axis: np\.expand_dims\(x, 1\)"),
        (
            {"image": np.zeros((2, 3, 9, 5), np.float32)},
            r"has the shape \[2, 3, 9, 5\]; the model takes \[batch, 3, 4, width\]",
        ),
        (
            {"image": np.zeros((2, 3, 4, 5))},
            r"'image' is float64; the model takes float32\. Convert: \.astype\('float32'\)",
        ),
        ({"steps": np.zeros((7, 2), np.int32)}, "'steps' is int32; the model takes int64"),
        ({"steps": [[0.5, 1]]}, "'steps' is float64; the model takes int64"),
        ({"image": [[1, 2], [3]]}, "'image' is no array of float32"),
        ({"image": np.array([object()])}, "'image' is object"),
        ({"image": "photo.png"}, "'image' is <U9"),
        ({"image": with_nan([1, 3])}, r"NaN in 2 of 4 rows \(the first is row 1\)"),
        ({"scale": np.nan}, "NaN in 1 values"),
        ({"image": np.zeros((0, 3, 4, 5), np.float32), "steps": np.zeros((7, 0), np.int64)}, "'image' is empty"),
        ({"image": np.zeros((3, 3, 4, 5), np.float32)}, "number of rows: 'image' has 3, 'steps' has 2"),
    ],
)
def test_inputs_that_do_not_fit_are_named_with_what_was_expected_and_found(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        check(SPECS, {**good(), **change})


def test_a_missing_input_is_told_from_what_is_there() -> None:
    with pytest.raises(InputError, match=r"takes the inputs image, steps, scale; found image$"):
        check(SPECS, {"image": good()["image"]})
    with pytest.raises(InputError, match="must be a dictionary by name"):
        check(SPECS, np.zeros(3))  # type: ignore[arg-type]


def test_python_numbers_and_lists_are_converted() -> None:
    batch = check((STEPS, SCALE), {"steps": [[1, 2], [3, 4]], "scale": 2})
    assert (batch.rows, batch.arrays["steps"].dtype, batch.arrays["scale"].dtype) == (2, np.int64, np.float32)
    assert batch.arrays["scale"].shape == ()


def test_any_memory_layout_and_byte_order_is_taken() -> None:
    image = np.arange(120, dtype=">f4").reshape(5, 4, 3, 2).T
    batch = check((IMAGE,), {"image": image})
    assert batch.arrays["image"].flags.c_contiguous
    assert batch.arrays["image"].dtype == np.dtype("=f4")
    np.testing.assert_array_equal(batch.arrays["image"], image)


@given(st.integers(1, 30), st.integers(1, 12))
def test_parts_are_small_enough_and_make_up_the_whole(rows: int, largest: int) -> None:
    inputs = good(rows)
    inputs["steps"] = np.arange(7 * rows).reshape(7, rows)
    batch = check(SPECS, inputs)
    parts = list(split(SPECS, batch, largest))
    assert [start for start, _ in parts] == list(range(0, rows, largest)) if rows > largest else [0]
    assert all(1 <= part.rows <= largest for _, part in parts)
    assert all(part.arrays["steps"].flags.c_contiguous for _, part in parts)
    np.testing.assert_array_equal(np.concatenate([part.arrays["steps"] for _, part in parts], axis=1), inputs["steps"])
    assert all(part.arrays["scale"] == 2 for _, part in parts)


def test_samples_are_repeated_along_the_batch_and_what_has_none_stays_whole():
    batch = tile(INPUTS, make_inputs(3), 7)
    assert batch["unread"].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert batch["x"].shape == (7, 6)
    assert batch["scale"].shape == (6,)


def test_samples_are_repeated_and_cut_along_every_dynamic_dimension():
    samples = {"image": np.arange(120).reshape(2, 3, 4, 5), "steps": np.arange(14).reshape(7, 2), "scale": np.array(2)}
    batch = tile(SPECS, samples, 3, 6)
    np.testing.assert_array_equal(batch["image"], samples["image"][[0, 1, 0]][..., [0, 1, 2, 3, 4, 0]])
    np.testing.assert_array_equal(batch["steps"], samples["steps"][:6, [0, 1, 0]])
    assert batch["scale"].shape == ()
    assert all(array.flags.c_contiguous for array in batch.values())


def test_the_length_is_the_largest_of_the_other_dynamic_dimensions():
    assert length_of(SPECS, {name: np.asarray(array) for name, array in good().items()}) == 7
    assert length_of(INPUTS, make_inputs(3)) is None
