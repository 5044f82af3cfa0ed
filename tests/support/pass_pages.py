"""`docs/passes.md`, made from the docstrings of the passes themselves (`make docs`)."""

from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass
from textwrap import dedent

from etbac.passes import select_exits, split
from etbac.passes.fold_batch_norm import FoldBatchNorm
from etbac.passes.fold_constants import FoldConstants
from etbac.passes.gates import registry
from etbac.passes.infer_shapes import InferShapes
from etbac.passes.name_batch import NameBatch
from etbac.passes.refuse_lost_batch import RefuseLostBatch
from etbac.passes.refuse_training_mode import RefuseTrainingMode
from etbac.passes.repair_baked_batch import RepairBakedBatch
from etbac.passes.use_opset import UseOpset

READING = (NameBatch, RepairBakedBatch)
MODEL = (RefuseTrainingMode, UseOpset, InferShapes, FoldConstants, RefuseLostBatch, FoldBatchNorm)
"""Those of ours; onnx-ir's own passes (inlining, dead code, names, …) stand between them in `model_passes`."""


def page() -> str:
    """The whole document."""
    parts = [
        "# Passes\n\nMade from the passes' own docstrings (`make docs`); each shows its graph before and after.",
        "## When a model is read",
        *map(section, READING),
        "## On the whole model, before the cut",
        section(select_exits.select_exits),
        *map(section, MODEL),
        "## Gates, appended to the model before the cut",
        *(section(registry.get(name), name) for name in registry.BUILT_IN),
        "## The cut",
        section(split.split_at_exits),
        block(inspect.getdoc(inspect.getmodule(split.split_at_exits)) or ""),
    ]
    return "\n\n".join(parts) + "\n"


def section(subject: object, name: str | None = None) -> str:
    title = name or subject.__name__  # type: ignore[attr-defined]
    options = [field.name for field in fields(subject)] if is_dataclass(subject) else []  # type: ignore[arg-type]
    heading = f"### {title}" + (f"\n\nOptions: {', '.join(f'`{option}`' for option in options)}." if options else "")
    return f"{heading}\n\n{block(inspect.getdoc(subject) or '')}"


def block(text: str) -> str:
    return f"```\n{dedent(text).strip()}\n```"


if __name__ == "__main__":
    print(page(), end="")
