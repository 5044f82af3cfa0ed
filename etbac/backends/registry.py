"""Backends by name; nothing is imported until it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etbac.backends.interface import Backend
from etbac.errors import UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

BUILT_IN = {
    "onnxruntime": "etbac.backends.onnxruntime_backend:OnnxRuntimeBackend",
    "tensorrt-rtx": "etbac.backends.tensorrt.backend:TensorRtRtx",
    "tensorrt": "etbac.backends.tensorrt.backend:TensorRt",
    "openvino": "etbac.backends.openvino_backend:OpenVinoBackend",
    "reference": "etbac.backends.reference_backend:ReferenceBackend",
}
DEFAULT = "onnxruntime"


def names() -> tuple[str, ...]:
    """Names of all backends, built-in ones first."""
    others = {point.name for point in _registered()} - set(BUILT_IN)
    return (*BUILT_IN, *sorted(others))


def get(name: str) -> Backend:
    """The backend of that name; a UsageError that lists the names otherwise."""
    if name in BUILT_IN:
        return _create(BUILT_IN[name])
    for point in _registered():
        if point.name == name:
            backend: Backend = point.load()()
            return backend
    raise UsageError(f"there is no backend {name!r}; there are {', '.join(names())}")


def _registered() -> EntryPoints:
    from importlib.metadata import entry_points  # costs as much as opening a small chain

    return entry_points(group="etbac.backends")


def _create(target: str) -> Backend:
    from importlib import import_module

    module, _, attribute = target.partition(":")
    backend: Backend = getattr(import_module(module), attribute)()
    return backend
