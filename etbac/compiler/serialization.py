"""ONNX models as files: all models of a folder share one file of weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import onnx_ir as ir

from etbac.engine_dir import Slot, Writer

EXTERNAL_FROM = 1024
"""Bytes from which a tensor goes into the weights file; smaller ones stay in the graph, for shape inference to see."""


@dataclass(frozen=True)
class Stored:
    """A model's file, and `key`: the hash of its graph and weights, wherever its weights lie."""

    file: str
    key: str


def add_models(
    writer: Writer, models: Sequence[tuple[str, ir.Model]], folder: str = "", whole: ir.Model | None = None
) -> list[Stored]:
    """Store each (stem, model) as `<folder>/<stem>.<hash>.onnx`, their large initialisers once in the weights file.

    The models' initialisers refer to the weights file afterwards, and so do those of `whole`, the model that they were
    cut from: nobody holds the weights in memory any longer.
    """
    large = [pair for _, model in models for pair in _large_initializers(model)]
    once = {id(tensor): tensor for _, tensor in large}
    if whole is not None:
        large += [(value, tensor) for value, tensor in _large_initializers(whole) if id(tensor) in once]
    location, slots = writer.add_weights(((str(key), _read(tensor)) for key, tensor in once.items()), folder)

    def refer(where: Callable[[Slot], tuple[str, int]]) -> None:
        for value, tensor in large:
            slot, shape = slots[str(id(tensor))], ir.Shape(tensor.shape.numpy())
            file, offset = where(slot)
            value.const_value = ir.ExternalTensor(
                file,
                offset,
                slot.length,
                tensor.dtype,
                shape=shape,
                name=str(value.name),
                base_dir=writer.path / folder,
            )

    refer(lambda slot: (slot.sha256, 0))
    keys = [hashlib.sha256(_bytes(model)).hexdigest() for _, model in models]
    refer(lambda slot: (location, slot.offset))
    prefix = f"{folder}/" if folder else ""
    files = [writer.add(prefix + stem, ".onnx", _bytes(model)) for stem, model in models]
    return [Stored(file, key) for file, key in zip(files, keys, strict=True)]


def _bytes(model: ir.Model) -> bytes:
    data: bytes = ir.to_proto(model).SerializeToString(deterministic=True)
    return data


def _read(tensor: ir.TensorProtocol) -> bytes:
    """The tensor's bytes; a file that it lies in is unmapped again, so that no more than one tensor is held."""
    data = tensor.tobytes()
    if isinstance(tensor, ir.ExternalTensor):
        with suppress(BufferError):
            tensor.release()
    return data


def _large_initializers(model: ir.Model) -> Iterator[tuple[ir.Value, ir.TensorProtocol]]:
    """Values and their tensors, also of sub-graphs; models that were copied from one another share tensors."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is not None and tensor.nbytes >= EXTERNAL_FROM and tensor.dtype != ir.DataType.STRING:
                yield value, tensor
