"""Pickles of plain values and arrays of bytes, read without running anything that they name."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from etbac.errors import InputError, UnsafeFileError


def read_pickle(path: Path) -> Any:
    """Dictionaries, lists, strings, numbers and NumPy arrays of uint8; keys that are bytes are decoded.

    UnsafeFileError for a pickle that names anything else, which is not looked up; InputError for a damaged one.
    """
    try:
        with path.open("rb") as file:
            content = _PlainUnpickler(file, encoding="bytes").load()
        return _plain(content)
    except _Unknown as named:
        raise UnsafeFileError(
            f"{path} names {named}, which would run while it is read; only data are read. Get the file again from "
            "where it was published"
        ) from None
    except Exception as error:  # a damaged pickle can fail in any way
        raise InputError(f"{path} is a damaged pickle ({type(error).__name__}); get it again") from None


class _Unknown(Exception):  # noqa: N818
    """The pickle names something that is not of its form."""


class _Dtype:
    """What numpy.dtype is in such a pickle."""

    def __init__(self, name: Any, *_: Any) -> None:
        if name not in ("u1", b"u1", "uint8", b"uint8"):
            raise ValueError(name)

    def __setstate__(self, state: Any) -> None:
        """Byte order and alignment: a byte has none."""


class _Array:
    """What numpy.ndarray is in such a pickle: made empty, and filled by its state."""

    values = np.zeros(0, np.uint8)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
            raise ValueError(state)
        self.values = np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran else "C")


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    return _Array()


def _encode(text: str, encoding: str) -> bytes:
    """How bytes are written by protocols before the third."""
    if encoding != "latin1":
        raise ValueError(encoding)
    return text.encode("latin1")


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise _Unknown(f"{module}.{name}")
        return _ALLOWED[module, name]


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        return value.values
    if isinstance(value, dict):
        return {key.decode("latin1") if isinstance(key, bytes) else key: _plain(each) for key, each in value.items()}
    return value
