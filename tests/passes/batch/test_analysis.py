"""Where each value holds the batch, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from support.split_cases import exit_model

from etbac.errors import UnsupportedModelError
from etbac.passes.batch import BatchAnalysis, Fact, analyse
from etbac.passes.exit_model import ExitModel


def facts_of(model: ExitModel) -> tuple[BatchAnalysis, dict[str, Fact]]:
    analysis = analyse(model)
    return analysis, {value.name or "": fact for value, fact in analysis.facts.items()}


def place(fact: Fact) -> tuple[int, int, int] | None:
    """(axis, outer, inner), or None without rows."""
    return None if fact.rows is None else (fact.rows.axis, *fact.rows.factors[0])


# one node over x [N, 4, 6] (and others): attributes, inputs, other inputs' declarations, where the rows are
FOLLOWED = {
    "elementwise": ("Add(x, w)", "float[4,6] w", (0, 1, 1)),
    "broadcast from the right": ("Add(v, x)", "float[2,N,4,6] v", (1, 1, 1)),
    "reduction": ("ReduceSum<keepdims=0>(x, one)", "", (0, 1, 1)),
    "softmax": ("Softmax<axis=-1>(x)", "", (0, 1, 1)),
    "transpose": ("Transpose<perm=[2,0,1]>(x)", "", (1, 1, 1)),
    "merge behind": ("Reshape(x, behind)", "", (0, 1, 4)),
    "merge all": ("Reshape(x, all)", "", (0, 1, 24)),
    "flatten": ("Flatten(x)", "", (0, 1, 1)),
    "unsqueeze": ("Unsqueeze(x, zero)", "", (1, 1, 1)),
    "matrix product": ("MatMul(x, w)", "float[6,3] w", (0, 1, 1)),
    "rows on the right": ("MatMul(w, x)", "float[5,4] w", (0, 1, 1)),
    "einsum": ('Einsum<equation="bij,jk->kbi">(x, w)', "float[6,3] w", (1, 1, 1)),
    "gather of features": ("Gather<axis=1>(x, one)", "", (0, 1, 1)),
    "look-up": ("Gather<axis=0>(w, ids)", "float[9,3] w", (0, 1, 1)),
    "concatenation of batches": ("Concat<axis=0>(x, x)", "", (0, 2, 1)),
    "tile": ("Tile(x, tiles)", "", (0, 3, 1)),
    "slice of features": ("Slice(x, zero, one, two)", "", (0, 1, 1)),
    "layer normalisation": ("LayerNormalization<axis=-1>(x, w)", "float[6] w", (0, 1, 1)),
    "group normalisation": ("InstanceNormalization(x, w, w)", "float[4] w", (0, 1, 1)),
    "top k": ("TopK<axis=-1>(x, two)", "", (0, 1, 1)),
    "quantisation": ("QuantizeLinear(x, w)", "float w", (0, 1, 1)),
    "no batch": ("Add(w, w)", "float[4,6] w", None),
}

SERIES = "layout=1, hidden_size=2"
LSTM, GRU = "float[1,8,6] w, float[1,8,2] r", "float[1,6,6] w, float[1,6,2] r"

REFUSED = {
    "mean over the batch": ("ReduceMean<keepdims=1>(x, zero)", "", "across the rows"),
    "mean over everything": ("ReduceMean<keepdims=0>(x)", "", "across the rows"),
    "softmax over the batch": ("Softmax<axis=0>(x)", "", "across the rows"),
    "sum along the batch": ("CumSum(x, axis)", "", "across the rows"),
    "sorting the batch": ("TopK<axis=0>(x, one)", "", "across the rows"),
    "contraction": ("MatMul(w, q)", "float[3,N] w, float[N,3] q", "sums over the batch"),
    "contraction by letters": ('Einsum<equation="bi,bj->ij">(q, q)', "float[N,3] q", "sums over the batch"),
    "pairs of rows by letters": ('Einsum<equation="bi,ci->bc">(q, q)', "float[N,3] q", "with other rows"),
    "pairs of rows": ("MatMul(q, z)", "float[N,3] q, float[3,N] z", "with other rows"),
    "gemm": ("Gemm<transA=1>(q, q)", "float[N,3] q", "sums over the batch"),
    "first row": ("Gather<axis=0>(x, axis)", "", "particular rows"),
    "piece of the batch": ("Slice(x, zero, one, zero)", "", "particular rows"),
    "at most a hundred rows": ("Slice(x, zero, hundred, zero)", "", "particular rows"),
    "backwards": ("Slice(x, minus, least, zero, minus)", "", "particular rows"),
    "split between rows": ("Reshape(x, across)", "", "splits the batch"),
    "whole-tensor quantisation": ("DynamicQuantizeLinear(x)", "", "one scale"),
    "random": ("RandomNormalLike(x)", "", "random"),
    "recurrence along the batch": ("LSTM<hidden_size=2>(x, w, r)", "float[1,8,6] w, float[1,8,2] r", "along the batch"),
    "state of one row": (f"LSTM<{SERIES}>(x, w, r, , , c, c)", f"float[1,1,2] c, {LSTM}", r"first state \(input 5\)"),
    "state of some rows": (f"GRU<{SERIES}>(x, w, r, , , c)", f"float[3,1,2] c, {GRU}", r"first state \(input 5\)"),
    "cell state of one row": (f"LSTM<{SERIES}>(x, w, r, , , v, c)", f"float[N,1,2] v, float[1,1,2] c, {LSTM}", "cell"),
    "lengths of some rows": (f"GRU<{SERIES}>(x, w, r, , c)", f"int32[3] c, {GRU}", r"lengths \(input 4\)"),
    "norm over the batch": ("LayerNormalization<axis=0>(x, w)", "float[6] w", "across the rows"),
    "joined with rows of no batch": ("Concat<axis=0>(x, w)", "float[1,4,6] w", "along the batch"),
    "shape from data": ("Expand(one, ids)", "", "what is in the rows"),
    "unknown operator": ("other.Thing(x)", "", "other.Thing"),
}

CONSTANTS = (
    "int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] minus = {-1}, int64[1] least = {-999}, "
    "int64 axis = {0}, int64[2] behind = {-1, 6}, int64[1] all = {-1}, int64[3] tiles = {3, 1, 1}, "
    "int64[2] across = {4, -1}, int64[1] hundred = {100}"
)


def one_node(node: str, others: str, domain: str = "") -> ExitModel:
    outputs = "y, index" if node.startswith("TopK") else "y, s, p" if node.startswith("DynamicQ") else "y"
    declared = ", ".join(part for part in ("float[N,4,6] x", "int64[N] ids", others) if part)
    text = f"({declared}) => (float[?] y) <{CONSTANTS}> {{ {outputs} = {node} }}"
    axes = {"w": None, "r": None, "c": None, "v": 0 if "[N,1,2] v" in others else 1, "z": 1, "m": 0}
    axes["w"] = 1 if "float[3,N] w" in others else None
    return exit_model(text, axes, domains=["other"])


@pytest.mark.parametrize("case", FOLLOWED)
def test_rows_are_followed(case: str) -> None:
    node, others, expected = FOLLOWED[case]
    model = one_node(node, others)
    _, facts = facts_of(model)
    assert place(facts["y"]) == expected


@pytest.mark.parametrize("case", REFUSED)
def test_mixing_is_refused_by_name(case: str) -> None:
    node, others, why = REFUSED[case]
    model = one_node(node, others)
    (only,) = list(model.model.graph)
    only.name = "culprit"
    with pytest.raises(UnsupportedModelError, match=why) as refusal:
        analyse(model)
    assert "'culprit'" in str(refusal.value)
    assert only.op_type in str(refusal.value)


def test_training_mode_is_refused() -> None:
    model = exit_model(
        "(float[N,4] x) => (float[N,4] y) <float half = {0.5}, bool on = {1}> { y = Dropout(x, half, on) }"
    )
    with pytest.raises(UnsupportedModelError, match=r"Dropout.*training mode"):
        analyse(model)


def test_a_batch_fixed_by_the_export_is_refused() -> None:
    model = exit_model("(float[N,4] x, float[3,4] w) => (float[N,4] y) { y = Add(x, w) }", {"w": None})
    with pytest.raises(UnsupportedModelError, match="do not fit each other"):
        analyse(model)


def test_heads_merged_with_the_batch_come_apart_again() -> None:
    """[B, L, 2·3] -> [B, 2, L, 3] -> [B·2, L, 3] -> [B, 2, L, 3]."""
    model = exit_model(
        """(float[N,L,6] x) => (float[?] y) <int64[4] apart = {0, 0, 2, 3}, int64[4] back = {-1, 2, 0, 3},
        int64[1] minus = {-1}, int64[1] three = {3}, int64[1] l = {1}> {
        r = Reshape(x, apart)
        t = Transpose<perm=[0,2,1,3]>(r)
        s = Shape<start=2, end=3>(t)
        m = Concat<axis=0>(minus, s, three)
        f = Reshape(t, m)
        n = Shape<start=0, end=1>(x)
        two = Constant<value_ints=[2]>()
        g = Concat<axis=0>(n, two, s, three)
        y = Reshape(f, g)
        }"""
    )
    _, facts = facts_of(model)
    assert place(facts["f"]) == (0, 1, 2)
    assert place(facts["y"]) == (0, 1, 1)
    wrong = exit_model("""(float[N,6] x) => (float[?] y) <int64[3] apart = {2, -1, 3}> { y = Reshape(x, apart) }""")
    with pytest.raises(UnsupportedModelError, match="splits the batch"):
        analyse(wrong)


def test_what_a_size_is_for() -> None:
    """The same number of rows is a shape at one place and data at another."""
    model = exit_model(
        """(float[N,6] x) => (float[?] y) <int64[2] rest = {2, 3}> {
        n = Shape<start=0, end=1>(x)
        s = Concat<axis=0>(n, rest)
        r = Reshape(x, s)
        c = Cast<to=1>(n)
        y = Mul(r, c)
        }"""
    )
    analysis, facts = facts_of(model)
    assert [(node.op_type, index) for node, index in analysis.whole_uses] == [("Mul", 1)]
    assert facts["s"].sized
    assert facts["s"].pure
    assert not facts["r"].sized
    assert facts["y"].sized


def test_static_dimensions_do_not_depend_on_the_batch() -> None:
    model = exit_model(
        """(float[N,6] x) => (int64[1] y) <int64[1] one = {1}> { s = Shape(x) y = Gather<axis=0>(s, one) }"""
    )
    _, facts = facts_of(model)
    assert not facts["y"].sized
    assert facts["s"].sized


def test_axes_that_share_a_symbol_are_not_confused() -> None:
    """A file may call every dynamic axis the same; only the one that is said to carries the batch."""
    model = exit_model("(float[N,N] x) => (float[?] y) <int64[1] one = {1}> { y = ReduceSum<keepdims=0>(x, one) }")
    _, facts = facts_of(model)
    assert place(facts["y"]) == (0, 1, 1)


def test_a_branch_chosen_by_the_rows_is_refused() -> None:
    text = """(float[N,4] x) => (float[N,4] y) <int64[1] one = {1}, float null = {0.0}> {
        m = ReduceMax<keepdims=0>(x, one)
        c = Greater(m, null)
        y = If(c) <then_branch = t () => (float[N,4] a) { a = Neg(x) },
                   else_branch = e () => (float[N,4] b) { b = Abs(x) }>
        }"""
    with pytest.raises(UnsupportedModelError, match=r"If.*condition depends on the rows"):
        analyse(exit_model(text))


def test_a_mixing_node_inside_a_branch_is_named() -> None:
    text = """(float[N,4] x, bool c) => (float[N,4] y) <int64[1] zero = {0}> {
        y = If(c) <then_branch = t () => (float[N,4] a) { r = ReduceMean(x, zero) a = Add(x, r) },
                   else_branch = e () => (float[N,4] b) { b = Abs(x) }>
        }"""
    with pytest.raises(UnsupportedModelError, match=r"ReduceMean.*'x'"):
        analyse(exit_model(text, {"c": None}))


def test_values_inside_bodies_have_facts() -> None:
    text = """(float[N,4] x) => (float[N,4] y) <int64 rounds = {3}, bool on = {1}> {
        y, all = Loop(rounds, on, x) <body = round (int64 i, bool c, float[K,4] s)
            => (bool d, float[K,4] r, float[K,4] o) { d = Identity(c) r = Tanh(s) o = Add(r, x) }>
        }"""
    _, facts = facts_of(exit_model(text))
    assert place(facts["o"]) == (0, 1, 1)
    assert place(facts["all"]) == (1, 1, 1)
    assert facts["all"].shapes[0] == (3, 13, 4)


def test_large_weights_are_not_read() -> None:
    """A model of any size is analysed from shapes: contents of large initialisers are never asked for."""

    class Untouchable(ir.Tensor):
        def numpy(self) -> np.ndarray:
            raise AssertionError("weights were read")

    proto = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["": 18]> g (float[N,128] x, float[128,128] w) => (float[N,128] y) '
        "{ y = MatMul(x, w) }"
    )
    model = ir.from_proto(proto)
    weight = model.graph.inputs[1]
    weight.const_value = Untouchable(np.zeros((128, 128), np.float32), name="w")
    model.graph.inputs.pop()
    model.graph.register_initializer(weight)
    analyse(ExitModel(model, {}, {"prediction": "y"}, {"x": 0}))


def test_an_axis_cut_to_the_number_of_rows_is_refused() -> None:
    text = """(float[N,6] x) => (float[N,M] y) <int64[1] zero = {0}, int64[1] one = {1}> {
        n = Shape<start=0, end=1>(x)
        y = Slice(x, zero, n, one)
        }"""
    with pytest.raises(UnsupportedModelError, match="by the number of rows"):
        analyse(exit_model(text))


def test_a_pattern_repeated_for_every_row_fits_only_its_own_layout() -> None:
    """tile([0, 1, 2], B) has row b at 3·b…3·b+2; [3, B] flattened has it elsewhere, and the sum mixes them."""
    text = """(float[N,3] x) => (float[?] y) <float[3] pattern = {0.0, 1.0, 2.0}, int64[1] all = {-1}> {
        n = Shape<start=0, end=1>(x)
        t = Tile(pattern, n)
        ORDER
        f = Reshape(u, all)
        y = Add(f, t)
        }"""
    _, facts = facts_of(exit_model(text.replace("ORDER", "u = Identity(x)")))
    assert place(facts["y"]) == (0, 1, 3)
    with pytest.raises(UnsupportedModelError, match="with other rows"):
        analyse(exit_model(text.replace("ORDER", "u = Transpose<perm=[1,0]>(x)")))


def test_any_of_equal_rows_serves_for_all() -> None:
    text = """(float[N,3] x) => (float[?] y) <int64 first = {0}, float[1,3] p = {0.0, 1.0, 2.0}> {
        s = Shape(x)
        e = Expand(p, s)
        y = Gather<axis=0>(e, first)
        }"""
    _, facts = facts_of(exit_model(text))
    assert place(facts["y"]) is None
