"""A small complete engine directory, made by hand: dense blocks, a max-prob gate after each but the last.

The model takes `x` float32 [batch, 6], `scale` float32 [6] (no batch) and `unread` int64 [batch]:

    h_0 = x;  h_k = Relu(h_{k-1} @ block_k) * scale;  answer_k = h_k @ head_k;  confidence_k = max(softmax(answer_k))
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, numpy_helper, parser

from etbac.contract import FULL_MODEL_ID, Manifest, SegmentContract, SegmentEntry, TensorSpec
from etbac.engine_dir import EngineDir, Slot, Writer

WIDTH, CLASSES = 6, 3
EXITS = (3, 7)
INPUTS = (
    TensorSpec("x", "float32", ("batch", WIDTH), 0),
    TensorSpec("scale", "float32", (WIDTH,), None),
    TensorSpec("unread", "int64", ("batch",), 0),
)
Floats = npt.NDArray[np.float32]
Weights = dict[str, Floats]


@dataclass(frozen=True)
class Reference:
    """NumPy's `answers` [exits + 1, rows, classes] and `confidence` [exits + 1, rows], the full model last."""

    answers: Floats
    confidence: Floats


def make_weights(seed: int = 0, exits: Sequence[int] = EXITS) -> Weights:
    generator = np.random.default_rng(seed)
    weights = {}
    for place in range(len(exits) + 1):
        weights[f"block_{place}"] = generator.standard_normal((WIDTH, WIDTH)).astype(np.float32)
        weights[f"head_{place}"] = generator.standard_normal((WIDTH, CLASSES)).astype(np.float32)
    return weights


def make_inputs(rows: int, seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    generator = np.random.default_rng(seed)
    return {
        "x": generator.standard_normal((rows, WIDTH)).astype(np.float32),
        "scale": np.linspace(0.5, 1.5, WIDTH, dtype=np.float32),
        "unread": np.arange(rows),
    }


def make_engine_dir(
    path: Path, seed: int = 0, exits: Sequence[int] = EXITS, max_batch: int = 8, **changes: Any
) -> EngineDir:
    """Write the directory; `changes` are further fields of its manifest."""
    with Writer(path) as writer:
        return writer.commit(add_files(writer, make_weights(seed, exits), exits, max_batch, **changes))


def add_files(
    writer: Writer, weights: Weights, exits: Sequence[int] = EXITS, max_batch: int = 8, **changes: Any
) -> Manifest:
    """Add the model's files to a transaction; returns the manifest to commit."""
    file, slots = writer.add_weights(weights.items())
    entries = []
    for place, exit_id in enumerate((*exits, FULL_MODEL_ID)):
        model, contract = _segment(place, exit_id)
        _store_outside(model, weights, file, slots)
        entries.append(SegmentEntry(contract, writer.add(f"segment-{place:02d}", ".onnx", model.SerializeToString())))
    full = _uncut_model("full", [*[None] * len(exits), "prediction"])
    _store_outside(full, weights, file, slots)
    samples = io.BytesIO()
    np.savez(samples, **make_inputs(16))
    fields: dict[str, Any] = {
        "source": {"path": "two_blocks.onnx", "sha256": "0" * 64, "kind": "onnx"},
        "task": "classification",
        "metric": "accuracy",
        "inputs": INPUTS,
        "segments": tuple(entries),
        "full": writer.add("full", ".onnx", full.SerializeToString()),
        "samples": writer.add("samples", ".npz", samples.getvalue()),
        "samples_kind": "synthetic",
        "max_batch": max_batch,
        "files": {},
    }
    return Manifest(**{**fields, **changes})


def reference(weights: Weights, inputs: dict[str, npt.NDArray[Any]]) -> Reference:
    hidden, answers = inputs["x"], []
    for place in range(len(weights) // 2):
        hidden = np.maximum(hidden @ weights[f"block_{place}"], 0) * inputs["scale"]
        answers.append(hidden @ weights[f"head_{place}"])
    stacked = np.stack(answers)
    exponents = np.exp(stacked - stacked.max(axis=-1, keepdims=True))
    return Reference(stacked, (exponents / exponents.sum(axis=-1, keepdims=True)).max(axis=-1))


def exit_model_file(path: Path, seed: int = 0, exits: Sequence[int] = EXITS) -> Path:
    """The uncut model with its exits, as an ONNX file that `etbac compile` takes."""
    path.write_bytes(make_exit_model(seed, exits).SerializeToString())
    return path


def make_exit_model(seed: int = 0, exits: Sequence[int] = EXITS) -> ModelProto:
    """The uncut model with its exits and weights."""
    weights = make_weights(seed, exits)
    answers = [*(f"exit_{exit_id}" for exit_id in exits), "prediction"]
    model = _uncut_model("with_exits", answers)
    read = {name for node in model.graph.node for name in node.input}
    inside = [numpy_helper.from_array(weights[name], name) for name in sorted(read & set(weights))]
    model.graph.initializer.extend(inside)
    return model


def _segment(place: int, exit_id: int) -> tuple[ModelProto, SegmentContract]:
    first, last = place == 0, exit_id == FULL_MODEL_ID
    before = "x" if first else f"h_{place - 1}"
    inputs = [f"float[batch, {WIDTH}] {before}", f"float[{WIDTH}] scale"]
    outputs = [f"float[batch, {CLASSES}] prediction"]
    steps = [] if first else [f"kept = Gather <axis = 0> ({before}, keep)"]
    steps += _block(place, before if first else "kept", f"h_{place}", "prediction")
    if not first:
        inputs.append("int64[kept_rows] keep")
    if not last:
        inputs.append("float threshold")
        outputs += [
            "float[batch] confidence",
            "bool[batch] exit_mask",
            f"float[batch, {WIDTH}] h_{place}",
            f"float[{WIDTH}] scale_out",
        ]
        steps += [
            "probability = Softmax <axis = 1> (prediction)",
            "axes = Constant <value_ints = [1]> ()",
            "confidence = ReduceMax <keepdims = 0> (probability, axes)",
            "exit_mask = GreaterOrEqual (confidence, threshold)",
            "scale_out = Identity (scale)",
        ]
    contract = SegmentContract(
        index=place,
        exit_id=exit_id,
        inputs=(TensorSpec(before, "float32", ("batch", WIDTH), 0), INPUTS[1]),
        predictions={"prediction": TensorSpec("prediction", "float32", ("batch", CLASSES), 0)},
        boundary=()
        if last
        else (
            TensorSpec(f"h_{place}", "float32", ("batch", WIDTH), 0),
            TensorSpec("scale_out", "float32", (WIDTH,), None),
        ),
        gate={} if last else {"name": "max-prob", "temperature": 1.0},
    )
    return _parse(f"segment_{place}", inputs, outputs, steps), contract


def _uncut_model(name: str, answers: Sequence[str | None]) -> ModelProto:
    """All blocks; `answers` names the output of each block's head, None where it has none."""
    inputs = [f"float[batch, {WIDTH}] x", f"float[{WIDTH}] scale", "int64[batch] unread"]
    steps: list[str] = []
    for place, answer in enumerate(answers):
        steps += _block(place, "x" if place == 0 else f"h_{place - 1}", f"h_{place}", answer)
    return _parse(name, inputs, [f"float[batch, {CLASSES}] {answer}" for answer in answers if answer], steps)


def _block(place: int, before: str, after: str, answer: str | None) -> list[str]:
    steps = [
        f"m_{place} = MatMul ({before}, block_{place})",
        f"r_{place} = Relu (m_{place})",
        f"{after} = Mul (r_{place}, scale)",
    ]
    return steps if answer is None else [*steps, f"{answer} = MatMul ({after}, head_{place})"]


def _parse(name: str, inputs: list[str], outputs: list[str], steps: list[str]) -> ModelProto:
    body = "\n".join(steps)
    text = (
        f'<ir_version: 8, opset_import: ["": 18]> {name} ({", ".join(inputs)}) => ({", ".join(outputs)}) {{ {body} }}'
    )
    return parser.parse_model(text)


def _store_outside(model: ModelProto, weights: Weights, file: str, slots: dict[str, Slot]) -> None:
    read = {name for node in model.graph.node for name in node.input}
    for name in sorted(read & set(weights)):
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=weights[name].shape)
        tensor.data_location = TensorProto.EXTERNAL
        place = {"location": file, "offset": slots[name].offset, "length": slots[name].length}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        model.graph.initializer.append(tensor)
