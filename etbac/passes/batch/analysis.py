"""Batch-axis analysis: where every value of a model holds the rows of the batch.

The sizes that a model leaves open (its batch, its other dynamic dimensions) are given concrete values, in three worlds:
two batch sizes, and two sizes of all the rest. Node after node, ONNX's own inference gives the shapes in each world and
its reference operators the contents of small values that come from sizes and constants alone; then a rule of a few
lines for the operator says where its outputs hold the rows, as (axis, outer, inner). Identities between sizes are
polynomial, so that what holds in all worlds holds always; where sizes are not polynomial (a minimum, a comparison),
each element of a shape also records what it depends on, and nothing is concluded from its value alone.

A value is one of: without rows; with rows on an axis; `sized`, when its elements tell how many rows there are or which
is which. A node is refused, by name, when its rows mix, when it is random, or when it is unknown and touches the batch.
After every node one invariant is checked: exactly the axis that holds the rows grows with the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx
import onnx_ir as ir

from etbac.errors import UnsupportedModelError
from etbac.passes.batch.control_flow import FLOW_RULES, Flow
from etbac.passes.batch.facts import BATCH, MAX_ELEMENTS, BatchAnalysis, Content, Fact, Rows, World
from etbac.passes.batch.operators import CREATES_ROWS, RANDOM
from etbac.passes.batch.pure import pure_fact, shape_fact
from etbac.passes.batch.rule import Op, RowsMixError
from etbac.passes.batch.rules import RULES
from etbac.passes.batch.sizes import NodeSizes, Sized, declared_shape
from etbac.passes.batch.uses import index_nodes, looks_up_rows, structural_inputs
from etbac.passes.exit_model import ExitModel

BATCHES = (13, 2)
"""A prime that no other size is a multiple of by chance, and a small one, where what is cut off at a size shows."""
OTHER_SIZES = (8, 16, 32, 64, 128, 224, 256, 512)
"""Tried in this order for the dimensions that a model leaves open."""


def analyse(model: ExitModel) -> BatchAnalysis:
    """Find where every value holds the batch.

    Raises UnsupportedModelError, naming operator, node and value, for the first node that mixes rows, is random, or is
    not known and touches the batch.
    """
    failure: _SizesError | None = None
    for number, size in enumerate(OTHER_SIZES):
        worlds = tuple(World(batch, size) for batch in BATCHES)
        try:
            found = _Analysis(model, worlds).run()
        except _SizesError as error:
            failure = failure or error
            if not has_open_inputs(model):
                break
            continue
        if not found.open_sizes:
            return found
        return _with_another_size(model, worlds, OTHER_SIZES[number + 1 :]) or found
    assert failure is not None
    raise failure


def _with_another_size(model: ExitModel, worlds: tuple[World, ...], sizes: Sequence[int]) -> BatchAnalysis | None:
    for size in sizes:
        try:
            return _Analysis(model, (*worlds, World(worlds[0].batch, size))).run()
        except _SizesError:
            continue
    return None


def has_open_inputs(model: ExitModel) -> bool:
    """Whether an input has a dynamic dimension that is not its batch."""
    return any(
        not isinstance(dim, int) and axis != model.batch_axes.get(value.name or "")
        for value in model.model.graph.inputs
        for axis, dim in enumerate(value.shape or ())
    )


class _SizesError(UnsupportedModelError):
    """The sizes tried do not fit the model."""


class _Analysis:
    def __init__(self, model: ExitModel, worlds: tuple[World, ...]) -> None:
        self.model, self.worlds = model, worlds
        self.sizes = NodeSizes(dict(model.model.graph.opset_imports))
        self.facts: dict[ir.Value, Fact] = {}
        self.open_sizes = has_open_inputs(model)
        self.structural: dict[ir.Node, Sequence[int]] = {}
        self.sized: dict[ir.Node, Sequence[int]] = {}
        """For every node that is not pure: the inputs that it reads as shapes or indices, and the sized ones that it
        reads otherwise."""

    def run(self) -> BatchAnalysis:
        graph = self.model.model.graph
        for value in graph.inputs:
            self.facts[value] = self._input_fact(value)
        self._visit(graph)
        indices = index_nodes(list(self.model.model.graphs()), self.structural, self.sized)
        self._refuse_double_use(indices)
        whole = {
            (node, place)
            for node, places in self.sized.items()
            for place in places
            if node not in indices and self._is_pure(node.inputs[place])
        }
        local = frozenset(value for node in indices for value in node.outputs)
        return BatchAnalysis(self.worlds, self.open_sizes, self.facts, frozenset(whole), local)

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
        return _with_unknown_integers(Fact(value.dtype, tuple(placed), (None,) * len(self.worlds), rows))

    def _visit(self, graph: ir.Graph) -> None:
        for value in graph.initializers.values():
            if value not in self.facts:
                self.facts[value] = self._constant_fact(value)
        for node in graph:
            self._visit_node(node)

    def _visit_body(self, graph: ir.Graph, inputs: Sequence[Fact]) -> list[Fact]:
        self.facts.update(zip(graph.inputs, inputs, strict=True))
        self._visit(graph)
        outputs = [self.facts[value] for value in graph.outputs]
        if any(fact.pure and fact.sized for fact in outputs):
            raise RowsMixError("its body returns the batch size; move what computes it out of the body")
        return outputs

    def _constant_fact(self, value: ir.Value) -> Fact:
        tensor = value.const_value
        if tensor is None:
            shapes = [declared_shape(value, world) for world in self.worlds]
            return Fact(value.dtype, tuple(shapes), (None,) * len(self.worlds))
        small = tensor.size <= MAX_ELEMENTS and tensor.dtype != ir.DataType.STRING
        content = Content.of_constant(tensor.numpy()) if small else None
        shape = tuple(tensor.shape.numpy())
        return Fact(tensor.dtype, (shape,) * len(self.worlds), (content,) * len(self.worlds))

    def _visit_node(self, node: ir.Node) -> None:
        inputs = [None if value is None else self._fact(node, value) for value in node.inputs]
        try:
            facts = self._outputs(node, inputs)
            for value, fact in zip(node.outputs, facts, strict=True):
                _check_growth(fact, self.worlds)
                self.facts[value] = fact
        except RowsMixError as reason:
            raise UnsupportedModelError(_message(node, inputs, str(reason))) from None

    def _fact(self, node: ir.Node, value: ir.Value) -> Fact:
        if value not in self.facts:
            raise UnsupportedModelError(f"{node.op_type} {node.name!r} reads {value.name!r}, which nothing computes")
        return self.facts[value]

    def _outputs(self, node: ir.Node, inputs: Sequence[Fact | None]) -> list[Fact]:
        standard = node.domain in ("", "ai.onnx")
        if standard:
            _refuse_random(node, inputs)
        if standard and node.op_type in FLOW_RULES:
            self.sized[node] = _sized_inputs(inputs, ())
            return FLOW_RULES[node.op_type](node, inputs, Flow(self.worlds, self._visit_body, self._guess))
        if standard and node.op_type in ("Shape", "Size"):
            return [shape_fact(node, inputs[0], self.worlds, self.open_sizes)]
        bare = self._infer(node, inputs)
        if all(fact.pure for fact in bare):
            return [pure_fact(fact, self.worlds) for fact in bare]
        placed = self._by_rule(node, inputs, bare) if standard else _untouched(inputs, bare)
        return [_with_unknown_integers(fact) for fact in placed]

    def _infer(self, node: ir.Node, inputs: Sequence[Fact | None]) -> list[Fact]:
        """Types, shapes and contents of the outputs, rows still left out."""
        worlds: list[list[Sized]] = []
        for number, world in enumerate(self.worlds):
            given = [
                None if fact is None else Sized(fact.dtype, fact.shapes[number], fact.contents[number])
                for fact in inputs
            ]
            try:
                worlds.append(self.sizes.infer(node, given, world))
            except onnx.shape_inference.InferenceError as error:
                reason = f"at batch {world.batch} its inputs do not fit each other ({_last_line(error)})"
                raise _SizesError(_message(node, inputs, reason)) from None
        outputs = list(zip(*worlds, strict=True))
        self.open_sizes |= any(each.guessed for output in outputs for each in output)
        return [
            Fact(output[0].dtype, tuple(each.shape for each in output), tuple(each.content for each in output))
            for output in outputs
        ]

    def _by_rule(self, node: ir.Node, inputs: Sequence[Fact | None], bare: list[Fact]) -> list[Fact]:
        rule = RULES.get(node.op_type)
        if rule is None:
            return _untouched(inputs, bare)
        structural = structural_inputs(node, inputs)
        sized = _sized_inputs(inputs, structural)
        self.structural[node], self.sized[node] = structural, sized
        for place in structural:
            _check_structural(inputs[place], looks_up_rows(node, inputs))
        if not _touches(inputs) and node.op_type not in CREATES_ROWS:
            return bare
        placed = rule(Op(node, self.worlds, inputs, [fact.shapes for fact in bare]))
        follows = any(_follows_batch(inputs[place]) for place in structural)
        if follows and all(rows is None for rows in placed):
            raise RowsMixError("its result depends on how many rows there are")
        return [replace(fact, rows=rows, sized=bool(sized)) for fact, rows in zip(bare, placed, strict=True)]

    def _guess(self) -> None:
        self.open_sizes = True

    def _is_pure(self, value: ir.Value | None) -> bool:
        return value is not None and self.facts[value].pure

    def _refuse_double_use(self, indices: set[ir.Node]) -> None:
        for node, places in self.structural.items():
            for place in places:
                value = node.inputs[place]
                fact = None if value is None else self.facts[value]
                if value is None or fact is None or fact.pure or not fact.sized or value.producer() in indices:
                    continue
                reason = f"{value.name!r} holds row numbers and is read elsewhere as data"
                raise UnsupportedModelError(_message(node, [], reason))


def _sized_inputs(inputs: Sequence[Fact | None], structural: Sequence[int]) -> list[int]:
    return [i for i, fact in enumerate(inputs) if fact is not None and fact.sized and i not in structural]


def _touches(inputs: Sequence[Fact | None]) -> bool:
    return any(fact is not None and (fact.rows is not None or fact.sized) for fact in inputs)


def _untouched(inputs: Sequence[Fact | None], bare: list[Fact]) -> list[Fact]:
    """Outputs of an operator that no rule knows: all right where it does not touch the batch."""
    if _touches(inputs):
        raise RowsMixError("what it does to the rows of the batch is not known")
    return bare


def _with_unknown_integers(fact: Fact) -> Fact:
    """Stand-in contents for small integers, so that what else is put beside them in an index stays known."""
    if fact.dtype not in (ir.DataType.INT64, ir.DataType.INT32) or any(c is not None for c in fact.contents):
        return fact
    shapes = [shape for shape in fact.shapes if shape is not None and _size(shape) <= MAX_ELEMENTS]
    if len(shapes) < len(fact.shapes):
        return fact
    return replace(fact, contents=tuple(Content.unknown(shape, fact.dtype.numpy()) for shape in shapes))


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for dim in shape:
        size *= dim
    return size


def _check_structural(fact: Fact | None, is_index: bool) -> None:
    if fact is None or fact.pure or is_index:
        return
    if fact.rows is not None:
        raise RowsMixError("the shape of its result depends on what is in the rows of the batch")
    if fact.sized:
        raise RowsMixError("the shape of its result depends on the batch size in a way that is not understood")


def _check_growth(fact: Fact, worlds: tuple[World, ...]) -> None:
    """Exactly the axis that holds the rows grows with the batch."""
    rows, known = fact.rows, [shape for shape in fact.shapes if shape is not None]
    if len(known) < len(fact.shapes):
        if rows is not None:
            raise RowsMixError("the rank of its result is not known")
        return
    if len(known[0]) != len(known[1]):
        raise RowsMixError("the rank of its result depends on the batch size")
    grown = {axis for axis, (a, b) in enumerate(zip(known[0], known[1], strict=True)) if a != b}
    if grown != (set() if rows is None else {rows.axis}):
        raise RowsMixError("the size of its result follows the batch in a way that is not understood")
    if rows is None:
        return
    for shape, world, (outer, inner) in zip(known, worlds, rows.factors, strict=True):
        if shape[rows.axis] != outer * world.batch * inner:
            raise RowsMixError("the size of its result is no multiple of the batch")


def _refuse_random(node: ir.Node, inputs: Sequence[Fact | None]) -> None:
    if node.op_type in RANDOM:
        raise RowsMixError("it draws random numbers, so that no answer could be checked; remove it from the model")
    if node.op_type == "Dropout" and len(inputs) > 2 and inputs[2] is not None:
        training = inputs[2].contents[0]
        if training is None or not training.known or bool(training.array):
            raise RowsMixError("it is in training mode; export the model in eval mode")


def _follows_batch(fact: Fact | None) -> bool:
    return fact is not None and any(content is not None and content.any(BATCH) for content in fact.contents)


def _message(node: ir.Node, inputs: Sequence[Fact | None], reason: str) -> str:
    described = [
        f"{value.name!r} ({_described(fact)})"
        for value, fact in zip(node.inputs, inputs, strict=False)
        if value is not None and fact is not None and (fact.rows is not None or fact.sized)
    ]
    operator = node.op_type if node.domain == "" else f"{node.domain}.{node.op_type}"
    read = f" reads {', '.join(described)}" if described else ""
    return (
        f"{operator} {node.name!r}{read}: {reason}; a model is split only where every row of a batch is known to come "
        "out the same whichever rows are with it"
    )


def _described(fact: Fact) -> str:
    shape = fact.shapes[0]
    held = f"batch on {fact.rows}" if fact.rows is not None else "depends on the batch size"
    return held if shape is None else f"rank {len(shape)}, {held}"


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else "shape inference failed"
