"""A chain that hands on a tensor without a batch that is not the same for every batch: its scale times its rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
from onnx import TensorProto, helper
from support.two_blocks import make_engine_dir

from etbac.engine_dir import EngineDir, Writer


def make_counting_engine_dir(path: Path) -> EngineDir:
    """As `two_blocks`, with `scale_out` = scale * rows after the first segment."""
    manifest = make_engine_dir(path).manifest
    first, *others = manifest.segments
    model = onnx.load(path / first.file, load_external_data=False)
    (copied,) = (node for node in model.graph.node if node.output[0] == "scale_out")
    model.graph.node.remove(copied)
    model.graph.node.extend(
        [
            helper.make_node("Shape", ["x"], ["rows"], start=0, end=1),
            helper.make_node("Cast", ["rows"], ["rows_as_floats"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["scale", "rows_as_floats"], ["scale_out"]),
        ]
    )
    with Writer(path) as writer:
        changed = replace(first, file=writer.add("segment-00", ".onnx", model.SerializeToString()))
        return writer.commit(replace(manifest, segments=(changed, *others)))
