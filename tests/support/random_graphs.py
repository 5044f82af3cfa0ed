"""Random multi-exit ONNX graphs that are row-independent by construction, a pure function of a seed.

A graph is a list of items: steps, exits, and at the end the full model's head. Any item can be left out (`skip`), which
is how a failing graph is shrunk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from support.graph_batch_steps import BATCH_AS_DATA, INPUTS, SHAPES, SUBGRAPHS
from support.graph_builder import IR_VERSION, OPSET, Graph, Input, Tensor
from support.graph_layout_steps import LAYOUTS
from support.graph_steps import CONTRACTIONS, ELEMENTWISE, PIECES, REDUCTIONS, Step

FAMILIES: Sequence[tuple[float, Sequence[Step]]] = (
    (0.22, ELEMENTWISE), (0.16, CONTRACTIONS), (0.11, REDUCTIONS), (0.20, LAYOUTS), (0.09, PIECES),
    (0.07, SHAPES), (0.04, BATCH_AS_DATA), (0.06, INPUTS), (0.05, SUBGRAPHS),
)  # fmt: skip

Mixer = Callable[[Graph, Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """A model; `axes`: field -> axis of its rows; `items`: how many items a shrinker may leave out."""

    seed: int
    model: onnx.ModelProto
    inputs: tuple[Input, ...]
    exits: dict[int, dict[str, str]]
    full: dict[str, str]
    axes: dict[str, int]
    items: int
    skip: frozenset[int] = frozenset()

    @property
    def batch_axes(self) -> dict[str, int | None]:
        return {i.name: i.axis for i in self.inputs}

    def draw(self, rng: np.random.Generator, batch: int) -> dict[str, np.ndarray]:
        return {i.name: i.draw(rng, batch) for i in self.inputs}


@dataclass
class _Recipe:
    """What is decided before the first node: how many items, where the exits are, what every exit gives."""

    kinds: list[str]
    fields: dict[str, Tensor]
    exits: list[dict[str, str]] = field(default_factory=list)


def random_graph(seed: int, skip: Collection[int] = (), mixer: Mixer | None = None) -> Case:
    """The graph of `seed` without the items in `skip`; with `mixer`, one item mixes rows on a way to every output."""
    rng = np.random.default_rng([seed, 0])
    g = Graph(rng)
    recipe = _recipe(g)
    _add_inputs(g)
    mix_at = int(rng.integers(1, len(recipe.kinds))) if mixer else None
    mixed: Tensor | None = None
    for number, kind in enumerate(recipe.kinds):
        g.rng = np.random.default_rng([seed, 1, number])
        if number == mix_at and mixer is not None:
            mixed = mixer(g, g.rows(_shrunk(g, g.pool[-1])))
            g.pool.append(mixed)
        if number in skip:
            continue
        if kind == "exit":
            _add_exit(g, recipe, mixed)
        else:
            _add_step(g)
    g.rng = np.random.default_rng([seed, 2])
    full = _add_full_head(g, recipe, mixed)
    exits = _number_exits(g, recipe.exits)
    return _assemble(g, recipe, seed, exits, full, frozenset(skip))


# -- items --


def _recipe(g: Graph) -> _Recipe:
    steps, exits = g.size(4, 14), g.size(1, 4)
    kinds = ["step"] * steps
    for _ in range(exits):
        kinds.insert(int(g.rng.integers(0 if g.chance(0.1) else 1, len(kinds) + 1)), "exit")
    classes = g.size(2, 5)
    style = g.rng.random()
    if style < 0.75:
        fields = {"prediction": Tensor("", (1, classes))}
    elif style < 0.9:
        fields = {"logits": Tensor("", (1, classes)), "map": Tensor("", (1, 2, 3))}
    else:
        fields = {"prediction": Tensor("", (3, 1, classes), axis=1)}
    return _Recipe(kinds, fields)


def _add_inputs(g: Graph) -> None:
    shapes = [(1, 3, 4), (1, 4, 6), (1, 5), (1, 2, 4, 3), (1, 4, 4), (1, 6)]
    g.inputs.append(Input("x", "float", shapes[int(g.rng.integers(len(shapes)))], 0))
    length = g.size(2, 5)
    if g.chance(0.4):
        g.inputs.append(Input("ids", "ids", (1, length), 0, vocabulary=g.size(5, 9)))
    if g.chance(0.35):
        g.inputs.append(Input("mask", "mask", (1, length), 0))
    if g.chance(0.25):
        g.inputs.append(Input("series", "float", (3, 1, 4), 1))
    if g.chance(0.3):
        g.inputs.append(Input("temperature", "scalar", (), None))
    if g.chance(0.3):
        g.inputs.append(Input("prior", "float", (4,), None))
    if g.chance(0.2):
        g.inputs.append(Input("unread", "float", (1, 2), 0))
    order = g.rng.permutation(len(g.inputs))
    g.inputs[:] = [g.inputs[i] for i in order]
    readable = [i for i in g.inputs if i.kind == "float" and i.name != "unread"]
    g.pool.extend(Tensor(i.name, i.dims, i.axis) for i in readable if i.axis is not None)
    if len(g.pool) > 1 and g.chance(0.5):
        g.pool.reverse()


def _add_step(g: Graph) -> None:
    weights, families = zip(*FAMILIES, strict=True)
    for _ in range(8):
        family = families[int(g.rng.choice(len(families), p=weights))]
        step = family[int(g.rng.integers(len(family)))]
        result = step(g, g.pick(g.pool, 0.7))
        if result is not None:
            g.pool.append(_calmed(g, result))
            return


def _calmed(g: Graph, t: Tensor) -> Tensor:
    return replace(t, name=g.op("Tanh", t.name)) if g.chance(0.15) else t


def _shrunk(g: Graph, t: Tensor) -> Tensor:
    return g.reshape(g.linear(t, 6), (1, 2, 3), 0) if t.rank > 4 else t


def _field(g: Graph, source: Tensor, shape: Tensor) -> Tensor:
    if g.chance(0.3):
        hidden = g.linear(source, g.size(3, 6))
        source = replace(hidden, name=g.op("Relu", hidden.name))
    return g.adapt(source, shape)


def _head(g: Graph, source: Tensor, recipe: _Recipe) -> dict[str, Tensor]:
    return {name: _field(g, source, shape) for name, shape in recipe.fields.items()}


def _add_exit(g: Graph, recipe: _Recipe, mixed: Tensor | None) -> None:
    """A head on a recent tensor, an older one or an input; it may read, or be, the exit before it."""
    source = g.pick(g.pool, 0.75)
    outputs = _head(g, source, recipe)
    for name, value in outputs.items():
        if mixed is not None:
            value = replace(value, name=g.op("Add", value.name, g.adapt(mixed, value).name))
        elif recipe.exits and g.chance(0.3):
            value = replace(value, name=g.op("Add", value.name, recipe.exits[-1][name]))
        elif recipe.exits and g.chance(0.07):
            value = replace(value, name=g.op("Identity", recipe.exits[-1][name]))
        outputs[name] = value
    recipe.exits.append({name: value.name for name, value in outputs.items()})
    if g.chance(0.15):
        g.pool.append(next(iter(outputs.values())))


def _add_full_head(g: Graph, recipe: _Recipe, mixed: Tensor | None) -> dict[str, str]:
    """Reads the last tensor and one or two others, so that few branches are dead and some skips are long."""
    source = g.pool[-1]
    for _ in range(g.size(1, 2)):
        projected = g.linear(source, 4)
        source = replace(projected, name=g.op("Add", projected.name, g.linear(g.pick(g.pool, 0.0), 4).name))
    outputs = _head(g, source, recipe)
    if mixed is not None:
        outputs = {
            name: replace(value, name=g.op("Add", value.name, g.adapt(mixed, value).name))
            for name, value in outputs.items()
        }
    return {name: value.name for name, value in outputs.items()}


def _number_exits(g: Graph, heads: list[dict[str, str]]) -> dict[int, dict[str, str]]:
    """Some of the exits, under ascending ids; now and then against the trunk's order."""
    kept = [head for head in heads if g.chance(0.8)] or heads[:1]
    if g.chance(0.12):
        kept.reverse()
    ids = sorted(int(i) for i in g.rng.choice(np.arange(1, 12), len(kept), replace=False))
    return dict(zip(ids, kept, strict=True))


# -- the model --


def _assemble(
    g: Graph, recipe: _Recipe, seed: int, exits: dict[int, dict[str, str]], full: dict[str, str], skip: frozenset[int]
) -> Case:
    named: dict[int, dict[str, str]] = {}
    for exit_id, head in exits.items():
        named[exit_id] = {name: f"exit_{exit_id}" + (f".{name}" if len(head) > 1 else "") for name in head}
        for name, value in head.items():
            output = named[exit_id][name]
            g.nodes.append(helper.make_node("Identity", [value], [output], name=f"n_{output}"))
    outputs = {name: f"output.{name}" for name in full}
    for name, value in full.items():
        g.nodes.append(helper.make_node("Identity", [value], [outputs[name]], name=f"n_{outputs[name]}"))

    graph = helper.make_graph(
        _ordered(g),
        f"random_{seed}",
        _input_infos(g),
        _output_infos(recipe, named, outputs),
        [numpy_helper.from_array(array, name) for name, array in g.initializers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    if g.chance(0.5):
        model = onnx.shape_inference.infer_shapes(model)
    axes = {name: shape.axis or 0 for name, shape in recipe.fields.items()}
    return Case(seed, model, tuple(g.inputs), named, outputs, axes, len(recipe.kinds), skip)


def _input_infos(g: Graph) -> list[onnx.ValueInfoProto]:
    """The batch by one name, by a name of each input's own, or as an unknown dimension."""
    style = str(g.choose(["batch", "batch", "own", "unknown"]))
    infos = []
    for i in g.inputs:
        symbol = {"batch": "batch", "own": f"batch_{i.name}", "unknown": None}[style]
        dims = [symbol if axis == i.axis else size for axis, size in enumerate(i.dims)]
        infos.append(helper.make_tensor_value_info(i.name, i.element_type, dims))
    return infos


def _output_infos(recipe: _Recipe, exits: dict[int, dict[str, str]], full: dict[str, str]) -> list[onnx.ValueInfoProto]:
    infos = []
    for names in (*exits.values(), full):
        for name, output in names.items():
            shape = recipe.fields[name]
            dims = ["batch" if axis == shape.axis else size for axis, size in enumerate(shape.dims)]
            infos.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, dims))
    return infos


def _reads(node: onnx.NodeProto) -> set[str]:
    graphs = [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]
    return {*node.input, *(name for graph in graphs for inner in graph.node for name in _reads(inner))}


def _ordered(g: Graph) -> list[onnx.NodeProto]:
    """The nodes as written, in a random topological order, or with what only the exits need at the end."""
    style = int(g.rng.integers(3))
    if style == 0:
        return g.nodes
    made = {name: index for index, node in enumerate(g.nodes) for name in node.output}
    needs = [{made[name] for name in _reads(node) if name in made} for node in g.nodes]
    is_head = [any(name.startswith("exit_") for name in node.output) for node in g.nodes]
    done: list[int] = []
    waiting = list(range(len(g.nodes)))
    while waiting:
        ready = [i for i in waiting if needs[i] <= set(done)]
        early = [i for i in ready if not is_head[i]] if style == 2 else ready
        chosen = (early or ready)[int(g.rng.integers(len(early or ready)))]
        done.append(chosen)
        waiting.remove(chosen)
    return [g.nodes[i] for i in done]
