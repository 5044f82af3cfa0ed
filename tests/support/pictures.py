"""An engine directory whose model takes pictures: `image` float32 [batch, 1, 4, 5], scores (mean, −mean, a half)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import parser

from etbac.contract import Manifest, SegmentContract, SegmentEntry, TensorSpec
from etbac.engine_dir import EngineDir, Writer
from etbac.preprocessing import ImagePreprocessing

HEIGHT, WIDTH = 4, 5
IMAGE = TensorSpec("image", "float32", ("batch", 1, HEIGHT, WIDTH), 0)
SCORES = TensorSpec("prediction", "float32", ("batch", 3), 0)
PREPROCESSING = ImagePreprocessing("image", HEIGHT, WIDTH, channels=1, scale=1 / 255, mean=(0.5,), std=(0.25,))
MODEL = f"""<ir_version: 8, opset_import: ["": 18]>
    means (float[batch, 1, {HEIGHT}, {WIDTH}] image) => (float[batch, 3] prediction) {{
        axes = Constant <value_ints = [2, 3]> ()
        mean = ReduceMean <keepdims = 0> (image, axes)
        negative = Neg (mean)
        none = Sub (mean, mean)
        half = Constant <value_float = 0.5> ()
        halves = Add (none, half)
        prediction = Concat <axis = 1> (mean, negative, halves)
    }}"""


def make_picture_engine_dir(path: Path) -> EngineDir:
    model = parser.parse_model(MODEL).SerializeToString()
    with Writer(path) as writer:
        contract = SegmentContract(0, 0, (IMAGE,), {"prediction": SCORES})
        manifest = Manifest(
            source={"path": "pictures.onnx", "sha256": "0" * 64, "kind": "onnx"},
            task="classification",
            metric="accuracy",
            inputs=(IMAGE,),
            segments=(SegmentEntry(contract, writer.add("segment-00", ".onnx", model)),),
            full=writer.add("full", ".onnx", model),
            samples=writer.add_samples({"image": np.zeros((16, 1, HEIGHT, WIDTH), np.float32)}),
            samples_kind="synthetic",
            max_batch=8,
            files={},
            preprocessing=PREPROCESSING.to_json(),
        )
        return writer.commit(manifest)
