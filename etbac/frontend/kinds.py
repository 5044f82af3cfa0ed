"""What a file is, told from its bytes; nothing in it is executed."""

from __future__ import annotations

import enum
import zipfile
from pathlib import Path

from etbac.errors import EtbacError, UnsafeFileError


class Kind(enum.Enum):
    """The kinds of models that can be compiled."""

    CHECKPOINT = "checkpoint"
    EXPORTED_PROGRAM = "exported-program"
    ONNX = "onnx"
    FACTORY = "factory"


def kind_of(spec: str | Path) -> Kind:
    """The kind of the file at `spec`, or of `package.module:factory`.

    Raises EtbacError where there is no such file or it is none of these, UnsafeFileError for a bare pickle.
    """
    path = Path(spec)
    if not path.exists():
        return _factory_or_missing(str(spec))
    if path.is_dir():
        raise EtbacError(f"{path} is a folder; give a checkpoint (.pt), an exported program (.pt2) or an ONNX file")
    with path.open("rb") as file:
        start = file.read(4096)
    if start[:1] == b"\x80":
        raise UnsafeFileError(f"{path} is a Python pickle, which can execute code when it is read; this is refused")
    if start[:4] == b"PK\x03\x04":
        return _kind_of_zip(path)
    if path.suffix.lower() == ".onnx" or _looks_like_onnx(start):
        return Kind.ONNX
    what = "is empty" if not start else "is a text file" if _is_text(start) else "is of an unknown kind"
    raise EtbacError(f"{path} {what}; give a checkpoint (.pt), an exported program (.pt2) or an ONNX file (.onnx)")


def _factory_or_missing(spec: str) -> Kind:
    module, colon, function = spec.partition(":")
    if colon and all(part.isidentifier() for part in (*module.split("."), function)):
        return Kind.FACTORY
    raise EtbacError(f"{spec}: no such file")


def _kind_of_zip(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.split("/", 1)[-1] for name in archive.namelist()]
    except zipfile.BadZipFile:
        raise EtbacError(f"{path} is truncated or damaged; copy it again") from None
    if "archive_format" in names or "serialized_exported_program.json" in names:
        return Kind.EXPORTED_PROGRAM
    if "data.pkl" in names:
        return Kind.CHECKPOINT
    raise EtbacError(f"{path} is a zip archive, but no checkpoint and no exported program")


def _looks_like_onnx(start: bytes) -> bool:
    """An ONNX file begins with its field 1, ir_version, a small number, and then field 2, the producer's name."""
    return len(start) > 4 and start[0] == 0x08 and start[1] < 0x40 and start[2] in (0x12, 0x3A, 0x42)


def _is_text(start: bytes) -> bool:
    return b"\0" not in start and all(byte >= 9 for byte in start)
