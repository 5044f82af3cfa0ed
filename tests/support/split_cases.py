"""Small models with exits from ONNX text, cut and compared row by row with the uncut model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from support.segment_chain import Arrays, Pool, SegmentChain, Stage, run_model

from etbac.contract import FULL_MODEL_ID
from etbac.passes.exit_model import ExitModel, Segment
from etbac.passes.gates import ExitPredictions, Gate, GateTape, add_gates
from etbac.passes.infer_shapes import InferShapes
from etbac.passes.model_passes import segment_passes
from etbac.passes.name_batch import rows_axis
from etbac.passes.split import split_at_exits

BATCHES = (1, 2, 5, 8)
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Largest(Gate):
    """The largest element of a prediction's row."""

    name = "largest"
    axes: tuple[int, ...]

    def confidence(self, exits: ExitPredictions, gate: GateTape) -> ir.Value:
        value = next(iter(exits.fields.values()))
        if not self.axes:
            return value
        return gate.op("ReduceMax", value, gate.constant("axes", list(self.axes), np.int64), keepdims=0)


def exit_model(
    body: str, batch_axes: Mapping[str, int | None] | None = None, opset: int = 18, domains: Sequence[str] = ()
) -> ExitModel:
    """Model text `(inputs) => (outputs) <initialisers> { nodes }`; exits and fields by the names of its outputs."""
    imports = ", ".join([f'"": {opset}', *(f'"{domain}": 1' for domain in domains)])
    proto = onnx.parser.parse_model(f"<ir_version: 9, opset_import: [{imports}]> case {body}")
    return from_proto(proto, batch_axes)


def from_proto(proto: onnx.ModelProto, batch_axes: Mapping[str, int | None] | None = None) -> ExitModel:
    """Outputs `exit_<id>` or `exit_<id>.<field>` are exits; the others are the full model's fields."""
    names = [value.name for value in proto.graph.output]
    full = {_field(name): name for name in names if not name.startswith("exit_")}
    exits: dict[int, dict[str, str]] = {}
    for name in names:
        if name.startswith("exit_"):
            number, _, field = name.removeprefix("exit_").partition(".")
            exits.setdefault(int(number), {})[field or next(iter(full))] = name
    initializers = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value.name for value in proto.graph.input if value.name not in initializers]
    axes = {name: (batch_axes or {}).get(name, 0) for name in inputs}
    return ExitModel(ir.from_proto(proto), exits, full, axes)


def _field(name: str) -> str:
    return name.partition(".")[2] or "prediction"


def gated(model: ExitModel) -> ExitModel:
    """The model with a gate at every exit that reads the exit's first field."""
    InferShapes()(model.model)
    ranks = {v.name: len(v.shape) for v in model.model.graph.outputs if v.shape is not None}
    firsts = {exit_id: next(iter(fields.values())) for exit_id, fields in model.exits.items()}
    return add_gates(model, {exit_id: Largest(tuple(range(1, ranks[name]))) for exit_id, name in firsts.items()})


def draw(model: ExitModel, batch: int, seed: int = 0, sizes: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
    """Inputs: floats standard normal, integers 0 or 1, bool random; other dynamic dimensions from `sizes`, else 8."""
    rng = np.random.default_rng([seed, batch])
    arrays = {}
    for value in model.model.graph.inputs:
        if value.name not in model.batch_axes or value.shape is None or value.dtype is None:
            continue
        axis = model.batch_axes[value.name]
        shape = [
            batch if place == axis else dim if isinstance(dim, int) else (sizes or {}).get(dim.value or "", 8)
            for place, dim in enumerate(value.shape)
        ]
        dtype = value.dtype.numpy()
        noise = rng.standard_normal(shape) if dtype.kind == "f" else rng.integers(0, 2, shape)
        arrays[value.name] = np.asarray(noise).astype(dtype)
    return arrays


def cut(model: ExitModel) -> list[Segment]:
    """Segments of a copy of the model, as the compiler leaves them."""
    copy = from_proto(onnx.ModelProto.FromString(ir.to_proto(model.model).SerializeToString()), model.batch_axes)
    return [segment_passes(segment) for segment in split_at_exits(gated(copy))]


def check_split(model: ExitModel, sizes: Mapping[str, int] | None = None) -> list[Segment]:
    """Cut a model and compare every row of every stage with the uncut model: random survivors, none, all."""
    segments = cut(model)
    chain, proto = SegmentChain(segments), ir.to_proto(model.model)
    ids = [*model.exits, FULL_MODEL_ID]
    for batch in BATCHES:
        inputs = draw(model, batch, sizes=sizes)
        uncut = run_model(proto, inputs)
        for number, exit_at in enumerate(_survivors(ids, batch)):
            check_chain(model, chain, inputs, uncut, exit_at, Pool(fillers=number % 2, garbage=number % 3))
    return segments


def _survivors(ids: Sequence[int], batch: int) -> list[np.ndarray]:
    rng = np.random.default_rng([batch, 7])
    alternating = np.array([ids[row % len(ids)] for row in range(batch)])
    return [np.full(batch, FULL_MODEL_ID), rng.choice(ids, batch), alternating, np.full(batch, ids[0])]


def check_chain(
    model: ExitModel, chain: SegmentChain, inputs: Arrays, uncut: Arrays, exit_at: np.ndarray, pool: Pool
) -> None:
    """Every row leaves at `exit_at[row]`; whatever a stage says of a row must be what the uncut model says of it."""

    def leaves(stage: Stage) -> np.ndarray:
        return np.asarray(exit_at[stage.rows] == stage.exit_id)

    axes = {value.name: rows_axis(value.shape) for value in model.model.graph.outputs}
    thresholds = dict.fromkeys(model.exits, 0.0)
    fields = {**model.exits, FULL_MODEL_ID: model.full}
    last = 0
    for last, stage in enumerate(chain.run(inputs, leaves, thresholds, pool)):  # noqa: B007
        for field, name in fields[stage.exit_id].items():
            whole = np.moveaxis(uncut[name], axes[name], 0)
            found, expected = stage.predictions[field], whole[stage.rows]
            scale = max(float(np.abs(whole).max(initial=0.0)), 1e-3)
            np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * scale, err_msg=name)
    assert last == max([*model.exits, FULL_MODEL_ID].index(exit_id) for exit_id in exit_at)


def carried(segments: Sequence[Segment]) -> list[list[str]]:
    """Names of what each segment but the first is given."""
    return [[spec.name for spec in segment.contract.inputs] for segment in segments[1:]]


def operators(segment: Segment) -> list[str]:
    """Operator types of a segment, bodies of control flow included."""
    return [node.op_type for node in segment.model.graph.all_nodes()]


def weights(**shapes: tuple[int, ...]) -> str:
    """Text of float initialisers with reproducible elements."""
    texts = []
    for name, shape in shapes.items():
        rng = np.random.default_rng(list(name.encode()))
        elements = ", ".join(f"{x:.3f}" for x in rng.standard_normal(int(np.prod(shape))) * 0.5)
        texts.append(f"float{list(shape)} {name} = {{{elements}}}")
    return ", ".join(texts)


def vectors(**values: list[int]) -> str:
    return ", ".join(f"int64[{len(v)}] {name} = {{{', '.join(map(str, v))}}}" for name, v in values.items())


BERT = f"""(int64[N,L] ids, int64[N,L] mask) => (float[N,3] exit_1, float[N,3] exit_2, float[N,3] y)
    <{weights(words=(7, 64), places=(16, 64), q=(64, 64), k=(64, 64), v=(64, 64), h=(64, 3))},
    {vectors(zero=[0], one=[1], minus=[-1], first=[0], axes=[1, 2], last=[1])},
    int64 start = {{0}}, int64 step = {{1}}, float low = {{-10000.0}}, float unit = {{1.0}}> {{
    shape = Shape(ids)
    n = Gather<axis=0>(shape, zero)
    l = Gather<axis=0>(shape, one)
    length = Squeeze(l)
    numbers = Range(start, length, step)
    positions = Unsqueeze(numbers, first)
    spread = Concat<axis=0>(n, l)
    position_ids = Expand(positions, spread)
    w = Gather<axis=0>(words, ids)
    p = Gather<axis=0>(places, position_ids)
    x0 = Add(w, p)
    m4 = Unsqueeze(mask, axes)
    square = Concat<axis=0>(n, one, l, l)
    full_mask = Expand(m4, square)
    float_mask = Cast<to=1>(full_mask)
    hidden = Sub(unit, float_mask)
    bias4 = Mul(hidden, low)
    bias = Squeeze(bias4, last)
    LAYER1
    c1 = Gather<axis=1>(x1, start)
    exit_1 = MatMul(c1, h)
    LAYER2
    c2 = Gather<axis=1>(x2, start)
    exit_2 = MatMul(c2, h)
    LAYER3
    c3 = Gather<axis=1>(x3, start)
    y = MatMul(c3, h)
    }}"""


def attention_layer(number: int) -> str:
    before = number - 1
    return f"""
    q{number} = MatMul(x{before}, q)
    k{number} = MatMul(x{before}, k)
    v{number} = MatMul(x{before}, v)
    kt{number} = Transpose<perm=[0,2,1]>(k{number})
    a{number} = MatMul(q{number}, kt{number})
    b{number} = Add(a{number}, bias)
    s{number} = Softmax(b{number})
    o{number} = MatMul(s{number}, v{number})
    x{number} = Add(x{before}, o{number})"""


def bert() -> str:
    text = BERT
    for number in (1, 2, 3):
        text = text.replace(f"LAYER{number}", attention_layer(number))
    return text
