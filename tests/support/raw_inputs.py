"""Engine directories whose models take texts (and count tokens) or sounds (and add them up): floats [batch, 2]."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import parser

from etbac.contract import Manifest, SegmentContract, SegmentEntry, TensorSpec
from etbac.engine_dir import EngineDir, Writer
from etbac.preprocessing import Preprocessing

SCORES = TensorSpec("prediction", "float32", ("batch", 2), 0)
TEXTS = """<ir_version: 8, opset_import: ["": 18]>
    texts (int64[batch, {length}] input_ids, int64[batch, {length}] attention_mask) => (float[batch, 2] prediction) {{
        axes = Constant <value_ints = [1]> ()
        tokens = ReduceSum <keepdims = 1> (attention_mask, axes)
        ids = ReduceSum <keepdims = 1> (input_ids, axes)
        both = Concat <axis = 1> (tokens, ids)
        prediction = Cast <to = 1> (both)
    }}"""
SOUNDS = """<ir_version: 8, opset_import: ["": 18]>
    sounds (float[batch, {length}] wave) => (float[batch, 2] prediction) {{
        axes = Constant <value_ints = [1]> ()
        sum = ReduceSum <keepdims = 1> (wave, axes)
        most = ReduceMax <keepdims = 1> (wave, axes)
        prediction = Concat <axis = 1> (sum, most)
    }}"""


def make_text_engine_dir(path: Path, preprocessing: Preprocessing, length: int) -> EngineDir:
    inputs = tuple(TensorSpec(name, "int64", ("batch", length), 0) for name in ("input_ids", "attention_mask"))
    return _write(path, TEXTS.format(length=length), inputs, preprocessing)


def make_sound_engine_dir(path: Path, preprocessing: Preprocessing, length: int) -> EngineDir:
    inputs = (TensorSpec("wave", "float32", ("batch", length), 0),)
    return _write(path, SOUNDS.format(length=length), inputs, preprocessing)


def _write(path: Path, text: str, inputs: tuple[TensorSpec, ...], preprocessing: Preprocessing) -> EngineDir:
    model = parser.parse_model(text).SerializeToString()
    samples = {spec.name: np.zeros((16, *spec.shape[1:]), spec.dtype) for spec in inputs}  # type: ignore[arg-type]
    with Writer(path) as writer:
        contract = SegmentContract(0, 0, inputs, {"prediction": SCORES})
        manifest = Manifest(
            source={"path": "model.onnx", "sha256": "0" * 64, "kind": "onnx"},
            task="classification",
            metric="accuracy",
            inputs=inputs,
            segments=(SegmentEntry(contract, writer.add("segment-00", ".onnx", model)),),
            full=writer.add("full", ".onnx", model),
            samples=writer.add_samples(samples),
            samples_kind="synthetic",
            max_batch=8,
            files={},
            preprocessing=preprocessing.to_json(),
        )
        return writer.commit(manifest)
