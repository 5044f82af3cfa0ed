"""A folder in which one damaged file is made, and sound models to damage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from support.graph_builder import IR_VERSION, OPSET
from support.random_graphs import random_graph


@dataclass(frozen=True)
class Sandbox:
    """Where one file is made: `folder` holds it, `outside` what it must not reach."""

    folder: Path
    outside: Path
    rng: np.random.Generator

    @property
    def path(self) -> Path:
        return self.folder / "model.onnx"

    @property
    def secret(self) -> Path:
        return self.outside / "secret.bin"

    def model(self) -> onnx.ModelProto:
        """A sound random graph."""
        return random_graph(int(self.rng.integers(1000))).model

    def small(self) -> onnx.ModelProto:
        """One MatMul, one exit, weights as an initialiser: x [batch, 4] -> exit_1, output [batch, 4]."""
        nodes = [
            helper.make_node("MatMul", ["x", "weight"], ["hidden"], name="first"),
            helper.make_node("Relu", ["hidden"], ["exit_1"], name="head"),
            helper.make_node("MatMul", ["hidden", "weight"], ["output"], name="last"),
        ]
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            nodes,
            "small",
            [info("x", TensorProto.FLOAT, ["batch", 4])],
            [info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("exit_1", "output")],
            [numpy_helper.from_array(np.eye(4, dtype=np.float32), "weight")],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)

    def pick(self, options: object) -> object:
        choices = list(options)  # type: ignore[call-overload]
        return choices[int(self.rng.integers(len(choices)))]


Damage = Callable[[Sandbox], "onnx.ModelProto | bytes | None"]
"""Gives the file's content; None where it has written the file itself."""
