"""Graphs as an export at one batch size leaves them: mended to work row by row, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from support.onnx_text import exit_model, parse, run

from etbac.errors import UnsupportedModelError

MENDED = {
    "the first axis": (
        1,
        """(float[batch, 6, 8] x) => (float[N, 2, 24] exit_1, float[N, 2, 24] y)
        <int64[3] split = {1, -1, 4}, int64[3] join = {1, -1, 24}>
        { a = Reshape(x, split) b = Relu(a) exit_1 = Reshape(b, join) y = Neg(exit_1) }""",
    ),
    "heads merged with a batch on axis 1": (
        1,
        """(float[batch, 6, 8] x) => (float[N, 6, 8] exit_1, float[N, 6, 8] y)
        <int64[3] heads = {6, 2, 4}, int64[3] whole = {6, 1, 8}>
        { t = Transpose <perm = [1, 0, 2]> (x) a = Reshape(t, heads) b = Softmax <axis = 2> (a) c = Reshape(b, whole)
          exit_1 = Transpose <perm = [1, 0, 2]> (c) y = Neg(exit_1) }""",
    ),
    "another batch size than one": (
        4,
        """(float[batch, 6, 8] x) => (float[N, 48] exit_1, float[N, 48] y) <int64[2] flat = {4, 48}>
        { exit_1 = Reshape(x, flat) y = Neg(exit_1) }""",
    ),
    "a batch squeezed away and put back": (
        1,
        """(float[batch, 6, 8] x) => (float[N, 6, 8] exit_1, float[N, 6, 8] y)
        <int64[2] without = {6, 8}, int64[3] with = {1, 6, 8}>
        { a = Reshape(x, without) b = Relu(a) exit_1 = Reshape(b, with) y = Neg(exit_1) }""",
    ),
    "a target that two reshapes share": (
        1,
        """(float[batch, 6, 8] x) => (float[N, 48] exit_1, float[N, 48] y) <int64[2] flat = {1, 48}>
        { exit_1 = Reshape(x, flat) a = Relu(x) y = Reshape(a, flat) }""",
    ),
}


@pytest.mark.parametrize(("exported_at", "graph"), MENDED.values(), ids=MENDED)
def test_a_mended_model_answers_each_row_as_the_export_did(exported_at: int, graph: str) -> None:
    mended = exit_model(graph).model
    for batch in (exported_at, 3, 8):
        x = np.random.default_rng(batch).standard_normal((batch, 6, 8)).astype(np.float32)
        found = run(mended, {"x": x})
        for row in range(batch):
            at_export = np.repeat(x[row : row + 1], exported_at, axis=0)
            expected = run(parse(graph), {"x": at_export})
            for name in ("exit_1", "y"):
                np.testing.assert_array_equal(found[name][row], expected[name][0])


REFUSED = {
    "a class token with one row": (
        r"Concat .*cls \[1, 1, 8\], x \[batch, 6, 8\]",
        """(float[batch, 6, 8] x) => (float[N, 7, 8] exit_1, float[N, 7, 8] y)
        <float[1, 1, 8] cls = {1, 2, 3, 4, 5, 6, 7, 8}> { exit_1 = Concat <axis = 1> (cls, x) y = Neg(exit_1) }""",
    ),
    "a constant with four rows": (
        r"Add .*c \[4, 2\]",
        """(float[batch, 2] x) => (float[N, 2] exit_1, float[N, 2] y) <float[4, 2] c = {1, 2, 3, 4, 5, 6, 7, 8}>
        { exit_1 = Add(x, c) y = Neg(exit_1) }""",
    ),
    "a mean over the batch": (
        r"ReduceMean .*mixes the rows",
        """(float[batch, 2] x) => (float[N, 2] exit_1, float[N, 2] y) <int64[1] axis = {0}>
        { exit_1 = ReduceMean(x, axis) y = Neg(exit_1) }""",
    ),
    "an output declared with a fixed batch": (
        r"output exit_1 of the graph is FLOAT \[4, 2\]: its batch is fixed",
        "(float[4, 2] x) => (float[4, 2] exit_1, float[4, 2] y) { exit_1 = Abs(x) y = Neg(exit_1) }",
    ),
    "a reshape across the batch": (
        r"Reshape .*does not show where it stood",
        """(float[6, batch, 8] x) => (float[6, N, 8] exit_1, float[6, N, 8] y) <int64[2] across = {4, 12}>
        { a = Reshape(x, across) b = ReduceMax(a) exit_1 = Add(b, x) y = Neg(exit_1) }""",
    ),
}


@pytest.mark.parametrize(("message", "graph"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_mended_is_refused_with_the_nodes_name(message: str, graph: str) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        exit_model(graph)


def test_a_batch_merged_on_purpose_is_left_alone() -> None:
    graph = """(float[batch, 6, 8] x) => (float[batch, 6, 8] exit_1, float[batch, 6, 8] y)
    <int64[3] merge = {1, -1, 8}, int64[3] part = {-1, 6, 8}>
    { a = Reshape(x, merge) b = Relu(a) exit_1 = Reshape(b, part) y = Neg(exit_1) }"""
    model = exit_model(graph).model
    targets = [node.inputs[1] for node in model.graph if node.op_type == "Reshape"]
    assert [value.const_value.numpy().tolist() for value in targets] == [[1, -1, 8], [-1, 6, 8]]  # type: ignore[union-attr]
