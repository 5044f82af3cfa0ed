"""Batch-axis analysis: where every value of a model holds the rows of the batch.

The sizes that a model leaves open (its batch, its other dynamic dimensions) are given concrete values, in three worlds:
two batch sizes, and two sizes of everything else. Node after node, ONNX's own inference gives the shapes in each world
and its reference operators the contents of small values that come from sizes and constants alone; then a rule of a few
lines for the operator says where its outputs hold the rows, as (axis, outer, inner). Identities between sizes are
polynomial, so that what holds in all worlds holds always; where sizes are not polynomial (a minimum, a comparison), each
element of a shape also records what it depends on, and nothing is concluded from its value alone.

A value is one of: without rows; with rows on an axis; `sized`, when its elements tell how many rows there are or which
is which. A node is refused, by name, when its rows mix, when it is random, or when it is unknown and touches the batch.
After every node one invariant is checked: exactly the axis that holds the rows grows with the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir

from etbac.errors import UnsupportedModelError
from etbac.passes.batch.control_flow import BODIES
from etbac.passes.batch.facts import BATCH, OTHER, BatchAnalysis, Content, Fact, Rows, World
from etbac.passes.batch.operators import CREATES_ROWS, LOOKS_UP, RANDOM, STRUCTURAL
from etbac.passes.batch.rule import Mixed, Op
from etbac.passes.batch.rules import RULES
from etbac.passes.batch.sizes import NodeSizes, Sized, constant, declared_shape
from etbac.passes.exit_model import ExitModel

BATCHES = (13, 17)
OTHER_SIZES = (8, 16, 32, 64, 128, 224, 256, 512)
"""Tried in this order for the dimensions that a model leaves open."""


def analyse(model: ExitModel) -> BatchAnalysis:
    """Find where every value holds the batch.

    Raises UnsupportedModelError, naming operator, node and value, for the first node that mixes rows, is random, or is
    not known and touches the batch.
    """
    failure: _DoNotFit | None = None
    for number, size in enumerate(OTHER_SIZES):
        worlds = tuple(World(batch, size) for batch in BATCHES)
        try:
            found = _Analysis(model, worlds).run()
        except _DoNotFit as error:
            failure = failure or error
            continue
        return _with_another_size(model, worlds, OTHER_SIZES[number + 1 :]) or found
    assert failure is not None
    raise failure


def _with_another_size(model: ExitModel, worlds: tuple[World, ...], sizes: Sequence[int]) -> BatchAnalysis | None:
    for size in sizes:
        try:
            return _Analysis(model, (*worlds, World(worlds[0].batch, size))).run()
        except _DoNotFit:
            continue
    return None


class _DoNotFit(UnsupportedModelError):
    """The sizes tried do not fit the model."""


class _Analysis:
    def __init__(self, model: ExitModel, worlds: tuple[World, ...]) -> None:
        self.model, self.worlds = model, worlds
        self.sizes = NodeSizes(dict(model.model.graph.opset_imports))
        self.facts: dict[ir.Value, Fact] = {}
        self.whole_uses: set[tuple[ir.Node, int]] = set()

    def run(self) -> BatchAnalysis:
        graph = self.model.model.graph
        for value in graph.inputs:
            self.facts[value] = self._input_fact(value)
        self._visit(graph)
        return BatchAnalysis(self.worlds, self.open_sizes, self.facts, frozenset(self.whole_uses))

    @property
    def open_sizes(self) -> bool:
        axes = self.model.batch_axes
        return any(
            not isinstance(dim, int) and axis != axes.get(value.name or "")
            for value in self.model.model.graph.inputs
            for axis, dim in enumerate(value.shape or ())
        )

    def _input_fact(self, value: ir.Value) -> Fact:
        axis = self.model.batch_axes.get(value.name or "")
        shapes = [declared_shape(value, world) for world in self.worlds]
        if axis is None:
            return Fact(value.dtype, tuple(shapes), (None,) * len(self.worlds))
        placed: list[tuple[int, ...]] = []
        for shape, world in zip(shapes, self.worlds, strict=True):
            if shape is None or axis >= len(shape):
                raise UnsupportedModelError(f"input {value.name!r} has no axis {axis}, where its batch should be")
            placed.append((*shape[:axis], world.batch, *shape[axis + 1 :]))
        rows = Rows(axis, ((1, 1),) * len(self.worlds))
        return Fact(value.dtype, tuple(placed), (None,) * len(self.worlds), rows)

    def _visit(self, graph: ir.Graph) -> None:
        for value in graph.initializers.values():
            if value not in self.facts:
                self.facts[value] = self._constant_fact(value)
        for node in graph:
            self._visit_node(node)

    def _visit_body(self, graph: ir.Graph, inputs: Sequence[Fact]) -> list[Fact]:
        self.facts.update(zip(graph.inputs, inputs, strict=True))
        self._visit(graph)
        return [self.facts[value] for value in graph.outputs]

    def _constant_fact(self, value: ir.Value) -> Fact:
        tensor = value.const_value
        if tensor is None:
            shapes = [declared_shape(value, world) for world in self.worlds]
            return Fact(value.dtype, tuple(shapes), (None,) * len(self.worlds))
        shape = tuple(tensor.shape.numpy())
        content = constant(tensor.numpy()) if tensor.size <= 4096 and tensor.dtype != ir.DataType.STRING else None
        return Fact(tensor.dtype, (shape,) * len(self.worlds), (content,) * len(self.worlds))

    def _visit_node(self, node: ir.Node) -> None:
        inputs = [None if value is None else self._fact(node, value) for value in node.inputs]
        try:
            facts = self._outputs(node, inputs)
            for value, fact in zip(node.outputs, facts, strict=True):
                self._check(fact)
                self.facts[value] = fact
        except Mixed as reason:
            raise UnsupportedModelError(self._message(node, inputs, str(reason))) from None

    def _fact(self, node: ir.Node, value: ir.Value) -> Fact:
        if value not in self.facts:
            raise UnsupportedModelError(f"{node.op_type} {node.name!r} reads {value.name!r}, which nothing computes")
        return self.facts[value]

    def _outputs(self, node: ir.Node, inputs: Sequence[Fact | None]) -> list[Fact]:
        _refuse_random(node, inputs)
        if node.op_type in BODIES and node.domain == "":
            return BODIES[node.op_type](node, inputs, self.worlds, self._visit_body)
        if node.op_type in ("Shape", "Size") and node.domain == "":
            return [self._shape_fact(node, inputs[0])]
        inferred = [self._infer(node, inputs, number) for number in range(len(self.worlds))]
        bare = [
            Fact(each[0].dtype, tuple(s.shape for s in each), tuple(s.content for s in each))
            for each in zip(*inferred, strict=True)
        ]
        if all(fact.pure for fact in bare):
            return [self._pure_fact(fact) for fact in bare]
        return self._by_rule(node, inputs, bare)

    def _infer(self, node: ir.Node, inputs: Sequence[Fact | None], number: int) -> list[Sized]:
        given = [f and Sized(f.dtype, f.shapes[number], f.contents[number]) for f in inputs]
        try:
            return self.sizes.infer(node, given, self.worlds[number])
        except onnx.shape_inference.InferenceError as error:
            reason = f"at batch {self.worlds[number].batch} its inputs do not fit each other ({_last_line(error)})"
            raise _DoNotFit(self._message(node, inputs, reason)) from None

    def _shape_fact(self, node: ir.Node, source: Fact | None) -> Fact:
        if source is None or any(shape is None for shape in source.shapes):
            raise Mixed("the rank of its input is not known")
        shapes = [shape for shape in source.shapes if shape is not None]
        depends = self._dimension_depends(shapes, source.rows)
        contents = []
        for shape in shapes:
            sizes, bits = np.array(shape, np.int64), np.array(depends, np.int64)
            if node.op_type == "Size":
                contents.append(Content(np.prod(sizes, dtype=np.int64), np.bitwise_or.reduce(bits, initial=0)))
                continue
            start, end = (node.attributes.get_int(name, default) for name, default in (("start", 0), ("end", None)))
            contents.append(Content(sizes[start:end], bits[start:end]))
        shape_of_result = tuple(content.array.shape for content in contents)
        return self._pure_fact(Fact(ir.DataType.INT64, shape_of_result, tuple(contents)))

    def _dimension_depends(self, shapes: Sequence[tuple[int, ...]], rows: Rows | None) -> list[int]:
        if len(self.worlds) == 3:
            depends = [OTHER if a != b else 0 for a, b in zip(shapes[0], shapes[2], strict=True)]
        else:
            depends = [OTHER if self.open_sizes else 0] * len(shapes[0])
        if rows is not None:
            depends[rows.axis] |= BATCH
        return depends

    def _pure_fact(self, fact: Fact) -> Fact:
        """A value made of sizes and constants alone: its rows are on the axis that grows with the batch."""
        contents = [content for content in fact.contents if content is not None]
        told = any(bool(np.any(content.depends & BATCH)) for content in contents)
        first, second = contents[0].array.shape, contents[1].array.shape
        grown = [axis for axis, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
        if not grown:
            return replace(fact, sized=told or not np.array_equal(contents[0].array, contents[1].array))
        if len(grown) > 1:
            raise Mixed("two axes of its output grow with the batch")
        rows = self._pure_rows(contents, grown[0])
        return replace(fact, rows=rows, sized=told or not rows.uniform)

    def _pure_rows(self, contents: Sequence[Content], axis: int) -> Rows:
        totals = []
        for content, world in zip(contents, self.worlds, strict=True):
            size = content.array.shape[axis]
            if size % world.batch:
                raise Mixed(f"its output has {size} elements on axis {axis} for {world.batch} rows")
            totals.append(size // world.batch)
        for factors in ([(1, total) for total in totals], [(total, 1) for total in totals]):
            rows = Rows(axis, tuple(factors), uniform=True)
            if all(
                _equal_rows(c.array, axis, w.batch, f) for c, w, f in zip(contents, self.worlds, factors, strict=True)
            ):
                return rows
        return Rows(axis, tuple((1, total) for total in totals))

    def _by_rule(self, node: ir.Node, inputs: Sequence[Fact | None], bare: list[Fact]) -> list[Fact]:
        touched = any(fact is not None and (fact.rows is not None or fact.sized) for fact in inputs)
        rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if rule is None:
            if touched:
                raise Mixed("what it does to the rows of the batch is not known")
            return bare
        structural = _structural_inputs(node, inputs)
        for index in structural:
            self._check_structural(inputs[index])
        if not touched and node.op_type not in CREATES_ROWS:
            return bare
        op = Op(node, self.worlds, inputs, [fact.shapes for fact in bare])
        placed = rule(op)
        data = [i for i, fact in enumerate(inputs) if i not in structural and fact is not None and fact.sized]
        self.whole_uses.update((node, index) for index in data if _is_pure(inputs[index]))
        follows = any(_follows_batch(inputs[index]) for index in structural)
        if follows and all(rows is None for rows in placed):
            raise Mixed("its result depends on how many rows there are")
        return [replace(fact, rows=rows, sized=bool(data)) for fact, rows in zip(bare, placed, strict=True)]

    def _check_structural(self, fact: Fact | None) -> None:
        if fact is None or fact.pure:
            return
        if fact.rows is not None:
            raise Mixed("the shape of its result depends on what is in the rows of the batch")
        if fact.sized:
            raise Mixed("the shape of its result depends on the batch size in a way that is not understood")

    def _check(self, fact: Fact) -> None:
        """Exactly the axis that holds the rows grows with the batch."""
        rows, shapes = fact.rows, fact.shapes
        if any(shape is None for shape in shapes):
            if rows is not None:
                raise Mixed("the rank of its result is not known")
            return
        known = [shape for shape in shapes if shape is not None]
        grown = {axis for axis, (a, b) in enumerate(zip(known[0], known[1], strict=True)) if a != b}
        if grown != (set() if rows is None else {rows.axis}):
            raise Mixed("the size of its result follows the batch in a way that is not understood")
        if rows is None:
            return
        for shape, world, (outer, inner) in zip(known, self.worlds, rows.factors, strict=True):
            if shape[rows.axis] != outer * world.batch * inner:
                raise Mixed("the size of its result is no multiple of the batch")

    def _message(self, node: ir.Node, inputs: Sequence[Fact | None], reason: str) -> str:
        described = [
            f"{value.name!r} ({_describe(fact)})"
            for value, fact in zip(node.inputs, inputs, strict=True)
            if value is not None and fact is not None and (fact.rows is not None or fact.sized)
        ]
        operator = node.op_type if node.domain == "" else f"{node.domain}.{node.op_type}"
        read = f" reads {', '.join(described)}:" if described else ":"
        return (
            f"{operator} {node.name!r}{read} {reason}; such a model cannot be split, because every row of a batch must "
            "come out the same whichever rows are with it"
        )


def _describe(fact: Fact) -> str:
    shape = fact.shapes[0]
    held = f"batch on {fact.rows}" if fact.rows is not None else "depends on the batch size"
    return held if shape is None else f"rank {len(shape)}, {held}"


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else "shape inference failed"


def _refuse_random(node: ir.Node, inputs: Sequence[Fact | None]) -> None:
    if node.op_type in RANDOM:
        raise Mixed("it draws random numbers, so that no answer could be checked; remove it from the model")
    if node.op_type == "Dropout" and len(inputs) > 2 and inputs[2] is not None:
        training = inputs[2].contents[0]
        if training is None or bool(training.array):
            raise Mixed("it is in training mode; export the model in eval mode")


def _structural_inputs(node: ir.Node, inputs: Sequence[Fact | None]) -> list[int]:
    named = [index for index in STRUCTURAL.get(node.op_type, ()) if index < len(inputs)]
    data = inputs[0] if inputs else None
    if node.op_type in LOOKS_UP and data is not None and data.rows is not None:
        axis = node.attributes.get_int("axis", 0)
        rank = len(data.shapes[0] or ())
        if node.op_type != "Gather" or axis % max(rank, 1) == data.rows.axis:
            return [*named, 1]
    return named


def _is_pure(fact: Fact | None) -> bool:
    return fact is not None and fact.pure


def _follows_batch(fact: Fact | None) -> bool:
    if fact is None:
        return False
    return any(content is not None and bool(np.any(content.depends & BATCH)) for content in fact.contents)


def _equal_rows(array: np.ndarray, axis: int, batch: int, factors: tuple[int, int]) -> bool:
    outer, inner = factors
    split = array.reshape(*array.shape[:axis], outer, batch, inner, *array.shape[axis + 1 :])
    first = np.take(split, [0], axis + 1)
    return bool(np.all(split == first))
