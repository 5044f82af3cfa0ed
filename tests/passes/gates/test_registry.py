from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, EntryPoints

import onnx_ir as ir
import pytest
from support.onnx_text import exit_model

from etbac.errors import UsageError
from etbac.passes.gates import (
    ExitPredictions,
    Gate,
    GateTape,
    add_gates,
    create,
    default_gate,
    get,
    names,
    parse,
    registry,
)
from etbac.passes.gates.keypoints import Keypoints
from etbac.passes.gates.max_prob import MaxProb


@dataclass(frozen=True)
class First(Gate):
    """The first class's logit: a gate that somebody else wrote."""

    name = "first"

    def confidence(self, exits: ExitPredictions, gate: GateTape) -> ir.Value:
        return gate.op("Gather", exits.field(None), gate.constant("first", 0, "int64"), axis=1)


def test_every_gate_is_found_under_its_own_name() -> None:
    assert [get(name).name for name in names()] == list(names())
    assert {"max-prob", "margin", "entropy", "keypoints", "pixels", "patience", "learned"} <= set(names())


def test_an_unknown_gate_is_told_all_names() -> None:
    with pytest.raises(UsageError, match="no gate 'maxprob'; there are max-prob, margin"):
        get("maxprob")


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("max-prob", MaxProb()),
        ("max-prob:field=logits,temperature=1.5", MaxProb(field="logits", temperature=1.5)),
        ("keypoints:m=3", Keypoints(m=3)),
    ],
)
def test_a_typed_gate_has_the_typed_options(text: str, gate: Gate) -> None:
    assert parse(text) == gate


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("keypoints:k=3", "gate keypoints has no option 'k'; it has field, m"),
        ("learned:m=1", "gate learned has no option 'm'; it has none"),
        ("max-prob:1.5", "write options as name=value"),
        ("max-prob:temperature=warm", "option temperature is 'warm'; it must be of type float"),
        ("keypoints:m=2.5", "option m is 2.5; it must be of type int"),
        ("max-prob:field=3", "option field is 3; it must be of type str"),
    ],
)
def test_a_mistyped_option_is_named(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(text)


def test_a_gate_of_another_package_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("first", f"{__name__}:First", "etbac.gates")
    monkeypatch.setattr(EntryPoint, "load", lambda _self: First)
    monkeypatch.setattr(registry, "entry_points", lambda group: EntryPoints([point]) if group == "etbac.gates" else ())
    assert names()[-1] == "first"
    assert create("first", {}) == First()


def test_the_options_stand_in_the_model_and_are_what_create_takes() -> None:
    model = exit_model("(float[B, 3] x) => (float[B, 3] exit_2, float[B, 3] y) { exit_2 = Neg(x) y = Abs(x) }")
    gate = MaxProb(temperature=2.0)
    add_gates(model, {2: gate})
    assert model.gates == {2: {"name": "max-prob", "field": None, "temperature": 2.0}}
    recorded = dict(model.gates[2])
    assert create(recorded.pop("name"), recorded) == gate


def test_an_exit_without_a_gate_is_named() -> None:
    model = exit_model("(float[B, 3] x) => (float[B, 3] exit_2, float[B, 3] y) { exit_2 = Neg(x) y = Abs(x) }")
    with pytest.raises(UsageError, match="exit 2 has no gate"):
        add_gates(model, {})


def test_the_default_is_max_prob_for_one_float_prediction_of_rank_two() -> None:
    graph = "({0}[{1}] x) => ({0}[{1}] exit_1, {0}[{1}] y) {{ exit_1 = Neg(x) y = Abs(x) }}"
    assert default_gate(exit_model(graph.format("float", "B, 3"))) == MaxProb()
    for dtype, shape in (("int64", "B, 3"), ("float", "B, 3, 4")):
        with pytest.raises(UsageError, match="choose a gate with --gate or a task with --task"):
            default_gate(exit_model(graph.format(dtype, shape)))


def test_a_gate_reads_the_field_that_it_is_told() -> None:
    model = exit_model(
        """(float[B, 3] x) => (float[B, 3] exit_1__a, float[B, 2] exit_1__b, float[B, 3] a, float[B, 2] b)
        <int64[1] start = {0}, int64[1] end = {2}, int64[1] axis = {1}>
        { exit_1__a = Neg(x) exit_1__b = Slice(x, start, end, axis) a = Abs(x) b = Neg(exit_1__b) }"""
    )
    with pytest.raises(UsageError, match="no field was named; fields: a, b"):
        add_gates(model, {1: MaxProb()})
    with pytest.raises(UsageError, match="there is no field 'c'; fields: a, b"):
        add_gates(model, {1: MaxProb(field="c")})
    add_gates(model, {1: MaxProb(field="b")})
    assert [value.name for value in model.model.graph.outputs][-2:] == ["gate_1.confidence", "gate_1.exit_mask"]
