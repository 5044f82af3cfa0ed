"""Reading an ONNX file that somebody else wrote."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx_ir as ir

from etbac.errors import EtbacError
from etbac.frontend.exit_graph import from_elsewhere
from etbac.frontend.external_data import check_external_data, read_small_tensors
from etbac.frontend.inputs import InputShape
from etbac.passes.exit_model import ExitModel

CHECK_SECONDS = 300


def from_onnx(path: Path, asked: Sequence[str] = (), input_shapes: Mapping[str, InputShape] | None = None) -> ExitModel:
    """Read an ONNX file whose outputs hold exits; needs no torch.

    `asked`: the texts of `--exit`; `input_shapes`: those of `--input-shape`, by input. Weights stay in their file until
    they are used, so a model may be larger than 2 GB. Local functions are inlined. Raises EtbacError for a damaged
    file, UnsafeFileError for external data outside the file's folder, UnsupportedModelError for a fixed batch.
    """
    _check_in_child(path)
    try:
        model = ir.load(path)
        _require_text(model)
        _require_own_attributes(model)
        check_external_data(model, path)
        read_small_tensors(model)
        return from_elsewhere(model, str(path), {"path": str(path)}, asked, input_shapes)
    except EtbacError:
        raise
    except Exception as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error


def _require_text(model: ir.Model) -> None:
    """A name that is not UTF-8 is read as bytes, and cannot be written again."""
    nodes = list(model.graph.all_nodes())
    values = [*model.graph.inputs, *(value for node in nodes for value in node.outputs)]
    names = [*(text for node in nodes for text in (node.name, node.op_type, node.domain)), *(v.name for v in values)]
    broken = next((name for name in names if isinstance(name, bytes)), None)
    if broken is not None:
        raise ValueError(f"the name {broken!r} is not UTF-8 text")


def _require_own_attributes(model: ir.Model) -> None:
    """Only inside a function may a node take an attribute from its caller."""
    for node in model.graph.all_nodes():
        for attribute in node.attributes.values():
            if attribute.is_ref():
                raise ValueError(f"attribute {attribute.name} of {node.op_type} refers to a function's attribute")


def _check_in_child(path: Path) -> None:
    """ONNX's checker and shape inference are native code, which a damaged file can crash: let it be another process."""
    command = [sys.executable, "-m", "etbac.frontend.check_onnx", str(path.absolute())]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise _damaged(path, f"checking it took more than {CHECK_SECONDS} s") from None
    if child.returncode == 0:
        return
    lines = child.stdout.strip().splitlines()
    raise _damaged(path, lines[-1] if lines else f"the checker stopped with status {child.returncode}")


def _damaged(path: Path, reason: str) -> EtbacError:
    line = " ".join(reason.split())
    return EtbacError(f"{path} is not a valid ONNX file ({line[:300]}); export it again")
