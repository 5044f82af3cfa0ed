"""An ONNX file's external data: kept inside the file's folder, small tensors read at once."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import onnx_ir as ir

from etbac.errors import EtbacError, UnsafeFileError

SMALL = 1024
"""Bytes."""


def check_external_data(model: ir.Model, path: Path) -> None:
    """Every external tensor lies in a regular file in the folder of `path` or below it, reached without links.

    Raises UnsafeFileError for an absolute path, a `..`, a symbolic link or a file with further hard links (each could
    read, and later copy, a file that the user did not name), EtbacError for a file that is absent or too short.
    """
    folder = path.absolute().parent
    sizes: dict[str, int] = {}
    for tensor in _external_tensors(model):
        location = str(tensor.location)
        if location not in sizes:
            sizes[location] = _checked_size(location, folder, path)
        end = (tensor.offset or 0) + (tensor.length or tensor.nbytes)
        if (tensor.offset or 0) < 0 or end > sizes[location]:
            raise EtbacError(
                f"{path}: tensor {tensor.name} ends at byte {end} of {location}, which has {sizes[location]}"
            )


def read_small_tensors(model: ir.Model) -> None:
    """Bring initialisers of less than 1 KiB into the graph, where shape inference sees them; exporters put them out."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if isinstance(tensor, ir.ExternalTensor) and tensor.nbytes < SMALL:
                (value.const_value,) = ir.external_data.convert_tensors_from_external([tensor])


def _external_tensors(model: ir.Model) -> Iterator[ir.ExternalTensor]:
    for graph in (model.graph, *model.graph.subgraphs()):
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                yield value.const_value
    functions = [node for function in model.functions.values() for node in function.all_nodes()]
    for node in (*model.graph.all_nodes(), *functions):
        for attribute in node.attributes.values():
            yield from _tensors_in(attribute)


def _tensors_in(attribute: ir.Attr) -> Iterator[ir.ExternalTensor]:
    if attribute.type not in (ir.AttributeType.TENSOR, ir.AttributeType.TENSORS) or attribute.is_ref():
        return
    tensors = attribute.value if attribute.type == ir.AttributeType.TENSORS else [attribute.value]
    yield from (tensor for tensor in tensors if isinstance(tensor, ir.ExternalTensor))


def _checked_size(location: str, folder: Path, path: Path) -> int:
    parts = PurePosixPath(location.replace("\\", "/")).parts
    if not parts or PurePosixPath(location).is_absolute() or Path(location).is_absolute() or ".." in parts:
        raise UnsafeFileError(f"{path} wants its weights from {location!r}, outside its folder; this is refused")
    target = folder
    for part in parts:
        target = target / part
        if target.is_symlink():
            raise UnsafeFileError(f"{path} wants its weights from {location!r}, which is a link; this is refused")
    if not target.exists():
        raise EtbacError(f"{path} keeps its weights in {location!r}, which is not beside it; copy both files")
    status = target.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeFileError(f"{path} wants its weights from {location!r}, which is not a plain file; this is refused")
    if status.st_nlink > 1:
        raise UnsafeFileError(
            f"{path} wants its weights from {location!r}, which other names point to as well (a hard link); copy it"
        )
    return status.st_size
