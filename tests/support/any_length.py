"""A small model of sequences of any length, as an ONNX file: the mean over the length is classified, exit 1 halfway."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import numpy_helper
from support.onnx_text import parse

WIDTH, CLASSES = 8, 3
GRAPH = f"""
(float[batch, length, {WIDTH}] x) => (float[batch, {CLASSES}] exit_1, float[batch, {CLASSES}] prediction) {{
    axes = Constant <value_ints = [1]> ()
    m_1 = MatMul (x, block_1)
    h_1 = Relu (m_1)
    mean_1 = ReduceMean <keepdims = 0> (h_1, axes)
    exit_1 = MatMul (mean_1, head_1)
    m_2 = MatMul (h_1, block_2)
    h_2 = Relu (m_2)
    mean_2 = ReduceMean <keepdims = 0> (h_2, axes)
    prediction = MatMul (mean_2, head_2)
}}"""


def any_length_file(path: Path) -> Path:
    """`x` float32 [batch, length, WIDTH] -> `exit_1` and `prediction` [batch, CLASSES], with random weights."""
    model, rng = parse(GRAPH), np.random.default_rng(0)
    for name, width in (("block_1", WIDTH), ("head_1", CLASSES), ("block_2", WIDTH), ("head_2", CLASSES)):
        weights = rng.standard_normal((WIDTH, width)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weights, name))
    path.write_bytes(model.SerializeToString())
    return path


def make_sequences(rows: int, length: int) -> dict[str, npt.NDArray[np.float32]]:
    return {"x": np.random.default_rng(1).standard_normal((rows, length, WIDTH)).astype(np.float32)}
