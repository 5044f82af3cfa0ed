"""Bugs that a splitter can have, put into ours one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import onnx_ir as ir
import pytest
from support import chain_checks

from etbac.contract import EXIT_MASK, FULL_MODEL_ID, KEEP
from etbac.passes.batch import BatchAnalysis, rules
from etbac.passes.batch.facts import Rows
from etbac.passes.batch.rule import Op
from etbac.passes.exit_model import Segment
from etbac.passes.split import boundary, layout, prepare, segment, split, values

Mutant = Callable[[pytest.MonkeyPatch], None]
SegmentBug = Callable[[list[Segment]], object]


def _in_segments(bug: SegmentBug) -> Mutant:
    """A mutant that spoils the segments which a right splitter made."""

    def put_in(patch: pytest.MonkeyPatch) -> None:
        def split_wrongly(*arguments: object) -> list[Segment]:
            segments: list[Segment] = split.split_at_exits(*arguments)  # type: ignore[arg-type]
            bug(segments)
            return segments

        patch.setattr(chain_checks, "split_at_exits", split_wrongly)

    put_in.__name__, put_in.__doc__ = bug.__name__, bug.__doc__
    return put_in


def _gathers(piece: Segment) -> Iterator[tuple[str, ir.Node]]:
    """(boundary tensor, the Gather that compacts it) of a later segment."""
    for value in piece.model.graph.inputs:
        for user, place in value.uses():
            if user.op_type == "Gather" and place == 0 and (user.inputs[1] or value).name == KEEP:
                yield value.name or "", user


# -- sizes --


@_in_segments
def size_of_the_pool(segments: list[Segment]) -> None:
    """The batch size of a later segment is read from the boundary before the gather."""
    for piece in segments[1:]:
        given = next((node.inputs[0] for _, node in _gathers(piece)), None)
        for node in piece.model.graph:
            if given is not None and node.op_type == "Shape" and (node.inputs[0] or given).name == KEEP:
                node.replace_input_with(0, given)
                node.attributes["start"], node.attributes["end"] = ir.AttrInt64("start", 0), ir.AttrInt64("end", 1)


def batch_as_data_recomputed(patch: pytest.MonkeyPatch) -> None:
    """A feature that is the batch size, or a row's number, is computed anew from the rows that are left."""
    patch.setattr(prepare, "sorted_uses", lambda found: iter(()))


def _kept_whole(patch: pytest.MonkeyPatch, op_types: Sequence[str]) -> None:
    """The second input of these operators, if it depends on the batch size, keeps the whole batch's value."""
    right = prepare.sorted_uses

    def and_more(found: BatchAnalysis) -> Iterator[tuple[ir.Node, int]]:
        yield from right(found)
        main = next(iter(found.facts)).graph
        readers = {node for value in found.facts for node in value.consumers() if node.op_type in op_types}
        for node in sorted(readers, key=lambda node: node.outputs[0].name or ""):
            index = node.inputs[1]
            if index is not None and node.graph is main and found.facts[index].sized:
                yield node, 1

    patch.setattr(prepare, "sorted_uses", and_more)


def expanded_to_the_old_batch(patch: pytest.MonkeyPatch) -> None:
    """A mask is expanded to the size that the whole batch had."""
    _kept_whole(patch, ["Expand", "Reshape"])


def index_of_the_old_batch(patch: pytest.MonkeyPatch) -> None:
    """Row numbers that serve as an index keep the whole batch's values."""
    _kept_whole(patch, ["Gather", "GatherND"])


# -- layouts --


def _placed(patch: pytest.MonkeyPatch, wrongly: Callable[[layout.Placement], layout.Placement]) -> None:
    """The splitter takes every value's rows to be elsewhere, on both sides of a boundary."""
    right = layout.placement

    def placement(value: ir.Value, found: BatchAnalysis) -> layout.Placement:
        return wrongly(right(value, found))

    for module in (layout, segment):
        patch.setattr(module, "placement", placement)


def wrong_axis_gathered(patch: pytest.MonkeyPatch) -> None:
    """A tensor with the batch on another axis is gathered along axis 0."""
    _placed(patch, lambda place: replace(place, axis=0))


def merge_order_swapped(patch: pytest.MonkeyPatch) -> None:
    """heads * B is taken for B * heads, on both sides of the boundary."""
    _placed(patch, lambda place: replace(place, outer=place.inner, inner=place.outer))


def merged_back_swapped(patch: pytest.MonkeyPatch) -> None:
    """Behind the boundary, rows are merged back as B * heads where they were heads * B."""
    right = segment.from_front

    def swapped(nodes: ir.tape.Tape, value: ir.Value, place: layout.Placement, batch: ir.Value) -> ir.Value:
        return right(nodes, value, replace(place, outer=place.inner, inner=place.outer), batch)

    patch.setattr(segment, "from_front", swapped)


# -- boundaries --


def capture_lost(patch: pytest.MonkeyPatch) -> None:
    """What the bodies of If, Loop and Scan read of the outer graph is overlooked."""

    def without_bodies(node: ir.Node) -> Iterator[ir.Value]:
        return iter(dict.fromkeys(value for value in node.inputs if value is not None))

    for module in (boundary, split, values):
        patch.setattr(module, "inputs_of", without_bodies)


@_in_segments
def skip_not_gathered(segments: list[Segment]) -> None:
    """Of several boundary tensors, the last one is not compacted."""
    for piece in segments[1:]:
        gathers = list(_gathers(piece))
        if len(gathers) > 1:
            _, node = gathers[-1]
            node.outputs[0].replace_all_uses_with(_given(node), replace_graph_outputs=True)


@_in_segments
def late_input_not_gathered(segments: list[Segment]) -> None:
    """An input of the model that a later segment reads is not compacted."""
    names = {spec.name for spec in segments[0].contract.inputs}
    for piece in segments[1:]:
        for name, node in list(_gathers(piece)):
            if name in names:
                node.outputs[0].replace_all_uses_with(_given(node), replace_graph_outputs=True)


def _given(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    assert value is not None
    return value


@_in_segments
def kept_twice(segments: list[Segment]) -> None:
    """The rows that were kept are kept once more by the same numbers."""
    for piece in segments[1:]:
        for _, node in list(_gathers(piece)):
            again = ir.node("Gather", [node.outputs[0], node.inputs[1]], {"axis": 0})
            again.outputs[0].name = f"{node.outputs[0].name}.again"
            node.outputs[0].replace_all_uses_with(again.outputs[0])
            again.replace_input_with(0, node.outputs[0])
            piece.model.graph.insert_after(node, [again])


@_in_segments
def boundary_in_another_order(segments: list[Segment]) -> None:
    """A segment gives its boundary tensors in another order than the next one takes them."""
    for piece in segments[:-1]:
        piece.contract = replace(piece.contract, boundary=tuple(reversed(piece.contract.boundary)))


@_in_segments
def weights_stored_under_one_name(segments: list[Segment]) -> None:
    """Weights of one shape, stored once for all segments, are taken for the same weights."""
    stored: dict[object, ir.TensorProtocol] = {}
    for piece in segments:
        for value in piece.model.graph.initializers.values():
            tensor = value.const_value
            if tensor is not None and tensor.dtype == ir.DataType.FLOAT:
                value.const_value = stored.setdefault(tuple(tensor.shape.numpy()), tensor)


# -- exits --


@_in_segments
def exits_exchanged(segments: list[Segment]) -> None:
    """The first two exits answer under each other's id."""
    first, second = segments[0], segments[1]
    if second.contract.exit_id != FULL_MODEL_ID:
        ids = second.contract.exit_id, first.contract.exit_id
        first.contract = replace(first.contract, exit_id=ids[0])
        second.contract = replace(second.contract, exit_id=ids[1])


def confidence_of_another_exit(patch: pytest.MonkeyPatch) -> None:
    """Every segment gives the first exit's confidence."""
    right = split._gate

    def first_exits(prepared: prepare.Prepared, exit_id: int) -> tuple[ir.Value, ir.Value, ir.Value]:
        threshold, _, exit_mask = right(prepared, exit_id)
        return threshold, right(prepared, next(iter(prepared.source.exits)))[1], exit_mask

    patch.setattr(split, "_gate", first_exits)


@_in_segments
def threshold_turned_round(segments: list[Segment]) -> None:
    """Samples leave that are not sure."""
    for piece in segments[:-1]:
        mask = next(value for value in piece.model.graph.outputs if value.name == EXIT_MASK)
        node = mask.producer()
        while node is not None and node.op_type != "GreaterOrEqual":
            node = node.inputs[0].producer() if node.inputs[0] is not None else None
        assert node is not None
        node.op_type = "LessOrEqual"


MUTANTS: Mapping[str, Mutant] = {
    mutant.__name__: mutant
    for mutant in (
        size_of_the_pool,
        batch_as_data_recomputed,
        expanded_to_the_old_batch,
        index_of_the_old_batch,
        wrong_axis_gathered,
        merge_order_swapped,
        merged_back_swapped,
        capture_lost,
        skip_not_gathered,
        late_input_not_gathered,
        kept_twice,
        boundary_in_another_order,
        weights_stored_under_one_name,
        exits_exchanged,
        confidence_of_another_exit,
        threshold_turned_round,
    )
}
"""Each makes some random graph's rows differ from the uncut graph's."""


def _rows_pass_through(op: Op) -> Sequence[Rows | None]:
    return [op.rows(0)] * len(op.out_shapes)


def mixer_missed(op_type: str) -> Mutant:
    """An operator along the batch is taken for one that leaves rows alone."""

    def put_in(patch: pytest.MonkeyPatch) -> None:
        assert op_type in rules.RULES
        patch.setitem(rules.RULES, op_type, _rows_pass_through)  # type: ignore[arg-type]

    return put_in


MISSED: Mapping[str, tuple[str, str]] = {
    "softmax_over_rows_missed": ("Softmax", "batch_softmax"),
    "sum_over_rows_missed": ("CumSum", "batch_cumulative_sum"),
    "sorted_rows_missed": ("TopK", "sort_rows"),
    "flip_missed": ("Slice", "flip"),
}
"""Name -> (operator whose rule is broken, row mixer that gets through)."""
