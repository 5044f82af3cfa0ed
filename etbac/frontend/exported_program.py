"""Reading a torch.export program (`.pt2`) without running code that the file brings along."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etbac.errors import EtbacError, UnsafeFileError, UnsupportedModelError
from etbac.frontend.program_text import check_program_text
from etbac.frontend.torch_export import from_program
from etbac.passes.exit_model import ExitModel
from etbac.passes.quiet import quiet

if TYPE_CHECKING:
    import torch

_TRAINING_ARGUMENT = {"batch_norm": 5, "native_batch_norm": 5, "_native_batch_norm_legit": 5, "dropout": 2}
"""Place of the argument that says "training" in these aten operators."""


def from_exported_program(path: Path, asked: Sequence[str] = (), trust: bool = False) -> ExitModel:
    """Read a `.pt2` file whose program returns a dict with `exit_<id>` (and `exit_<id>.<field>`) among its keys.

    `asked`: the texts of `--exit`; a program that returns no dict has outputs `output_0`, `output_1`, …
    Raises UnsafeFileError for a file that torch.export.load would execute code for, unless `trust`; EtbacError for a
    damaged one; UnsupportedModelError for a program exported in training mode or with a fixed batch.
    """
    program = _load(path, trust)
    _refuse_training(program, path)
    names = _output_names(program)
    return from_program(program, names, str(path), {"path": str(path)}, asked)


def _load(path: Path, trust: bool) -> torch.export.ExportedProgram:
    from torch.export.pt2_archive._package import load_pt2

    try:
        if not trust:
            check_archive(path)
        with quiet("torch.export", "torch._export"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program: torch.export.ExportedProgram = load_pt2(str(path)).exported_programs["model"]
    except EtbacError:
        raise
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise EtbacError(f"{path} is not a whole exported program ({type(error).__name__}: {reason[:200]})") from error
    program._guards_code = []
    return program


def check_archive(path: Path) -> None:
    """Raise UnsafeFileError if reading the archive would unpickle, evaluate or load code.

    torch.export.load unpickles weights and constants that are marked so, custom objects, and example inputs that are
    more than tensors; it evaluates shape expressions as Python text, imports types named in the signature, and loads
    compiled libraries. Everything is read here with the reader that torch itself uses.
    """
    from torch.export.pt2_archive import constants as at
    from torch.export.pt2_archive._package import PT2ArchiveReader

    with PT2ArchiveReader(str(path)) as archive:
        names: list[str] = archive.get_file_names()
        _refuse_if(
            any(name.startswith((at.AOTINDUCTOR_DIR, at.EXECUTORCH_DIR)) for name in names), path, "machine code"
        )
        models = [name for name in names if name.startswith(at.MODELS_DIR)]
        if models != [at.MODELS_FILENAME_FORMAT.format("model")]:
            raise EtbacError(
                f"{path} holds {len(models)} programs; one named model is read, as torch.export.save writes"
            )
        legacy = (f"{at.WEIGHTS_DIR}model.pt", f"{at.CONSTANTS_DIR}model.pt")
        _refuse_if(any(name in names for name in legacy), path, "pickled weights (an older format)")

        weights = archive.read_string(at.WEIGHTS_CONFIG_FILENAME_FORMAT.format("model"))
        constants = archive.read_string(at.CONSTANTS_CONFIG_FILENAME_FORMAT.format("model"))
        _check_payloads(weights, at.WEIGHT_FILENAME_PREFIX, path)
        _check_payloads(constants, at.TENSOR_CONSTANT_FILENAME_PREFIX, path)
        _check_sample_inputs(archive.read_bytes(at.SAMPLE_INPUTS_FILENAME_FORMAT.format("model")), path)
        check_program_text(archive.read_string(models[0]), path)


def _check_payloads(text: str, prefix: str, path: Path) -> None:
    import json

    for payload in json.loads(text)["config"].values():
        plain = payload["use_pickle"] is False and payload["path_name"].startswith(prefix)
        _refuse_if(not plain, path, f"a pickled object ({payload['path_name']})")


def _check_sample_inputs(content: bytes, path: Path) -> None:
    import torch

    if not content:
        return
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception as error:
        _refuse_if(True, path, "example inputs that are more than tensors", error)


def _refuse_if(unsafe: bool, path: Path, what: str, cause: Exception | None = None) -> None:
    if unsafe:
        raise UnsafeFileError(
            f"{path} holds {what}: reading it would execute code. Save it again with torch.export.save, from tensors "
            "alone, or read it with --trust if you trust its author"
        ) from cause


def _refuse_training(program: torch.export.ExportedProgram, path: Path) -> None:
    for node in program.graph.nodes:
        operator = str(getattr(node.target, "__name__", node.target)).partition(".")[0]
        place = _TRAINING_ARGUMENT.get(operator)
        if place is not None and len(node.args) > place and node.args[place] is True:
            raise UnsupportedModelError(
                f"{path}: {operator} ({node.name}) was exported in training mode, in which answers depend on the batch "
                "and on chance; call .eval() before torch.export.export"
            )


def _output_names(program: torch.export.ExportedProgram) -> list[str]:
    spec: Any = program.call_spec.out_spec
    if spec is not None and spec.type is dict and all(isinstance(key, str) for key in spec.context):
        return [str(key) for key in spec.context]
    return [f"output_{place}" for place in range(len(program.graph_signature.user_outputs))]
