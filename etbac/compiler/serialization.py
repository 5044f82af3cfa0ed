"""ONNX models as files: all of a directory's models share one file of weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

import onnx_ir as ir

from etbac.engine_dir import Writer

EXTERNAL_FROM = 1024
"""Bytes from which a tensor goes into the weights file; smaller ones stay in the graph, for shape inference to see."""


def add_models(writer: Writer, models: Sequence[tuple[str, ir.Model]]) -> list[str]:
    """Store each (stem, model) as `<stem>.<hash>.onnx`, their large initialisers once in the weights file.

    Returns the files' names. The models' initialisers refer to the weights file afterwards.
    """
    large = list(_large_initializers(models))
    once = {id(tensor): tensor for _, tensor in large}
    location, slots = writer.add_weights((str(key), _read(tensor)) for key, tensor in once.items())
    for value, tensor in large:
        slot, shape = slots[str(id(tensor))], ir.Shape(tensor.shape.numpy())
        value.const_value = ir.ExternalTensor(
            location,
            slot.offset,
            slot.length,
            tensor.dtype,
            shape=shape,
            name=str(value.name),
            base_dir=writer.path,
        )
    return [writer.add(stem, ".onnx", ir.to_proto(model).SerializeToString()) for stem, model in models]


def _read(tensor: ir.TensorProtocol) -> bytes:
    """The tensor's bytes; a file that it lies in is unmapped again, so that no more than one tensor is held."""
    data = tensor.tobytes()
    if isinstance(tensor, ir.ExternalTensor):
        with suppress(BufferError):
            tensor.release()
    return data


def _large_initializers(models: Sequence[tuple[str, ir.Model]]) -> Iterator[tuple[ir.Value, ir.TensorProtocol]]:
    """Values and their tensors, also of sub-graphs; models that were copied from one another share tensors."""
    for _, model in models:
        for graph in model.graphs():
            for value in graph.initializers.values():
                tensor = value.const_value
                if tensor is not None and tensor.nbytes >= EXTERNAL_FROM and tensor.dtype != ir.DataType.STRING:
                    yield value, tensor
