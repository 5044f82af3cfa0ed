"""Cut models: each row's answer is the uncut model's, whoever is with it."""

from __future__ import annotations

import pytest
from support.split_cases import (
    bert,
    carried,
    check_split,
    exit_model,
    gated,
    operators,
    vectors,
    weights,
)

from etbac.passes.split import explain, naive_boundary_bytes


def test_residual_network_hands_on_one_tensor() -> None:
    model = exit_model(f"""(float[N,3,6,6] x) => (float[N,5] exit_1, float[N,5] exit_2, float[N,5] y)
        <{weights(a=(4, 3, 3, 3), b=(4, 4, 3, 3), c=(4, 4, 3, 3), h1=(4, 5), h2=(4, 5), h3=(4, 5))}> {{
        s = Conv<pads=[1,1,1,1]>(x, a)
        r = Relu(s)
        p1 = GlobalAveragePool(r)
        f1 = Flatten(p1)
        c1 = Conv<pads=[1,1,1,1]>(r, b)
        s1 = Add(r, c1)
        p2 = GlobalAveragePool(s1)
        f2 = Flatten(p2)
        c2 = Conv<pads=[1,1,1,1]>(s1, c)
        s2 = Add(s1, c2)
        p3 = GlobalAveragePool(s2)
        f3 = Flatten(p3)
        exit_1 = MatMul(f1, h1)
        exit_2 = MatMul(f2, h2)
        y = MatMul(f3, h3)
        }}""")
    segments = check_split(model)
    assert carried(segments) == [["r"], ["s1"]]
    assert [operators(segment).count("Conv") for segment in segments] == [1, 1, 1]


def test_skip_over_every_exit_is_carried_through_every_boundary() -> None:
    model = exit_model(
        f"""(float[N,2,8,8] x) => (float[N,2] exit_1, float[N,2] exit_2, float[N,2] y)
        <{weights(a=(4, 2, 3, 3), b=(4, 4, 3, 3), c=(4, 4, 3, 3), h=(4, 2), g=(8, 2))},
        float[4] scales = {{1.0, 1.0, 2.0, 2.0}}> {{
        e1 = Conv<pads=[1,1,1,1]>(x, a)
        d1 = MaxPool<kernel_shape=[2,2], strides=[2,2]>(e1)
        p1 = GlobalMaxPool(d1)
        f1 = Flatten(p1)
        exit_1 = MatMul(f1, h)
        e2 = Conv<pads=[1,1,1,1]>(d1, b)
        p2 = GlobalMaxPool(e2)
        f2 = Flatten(p2)
        exit_2 = MatMul(f2, h)
        e3 = Conv<pads=[1,1,1,1]>(e2, c)
        u = Resize<mode="nearest">(e3, , scales)
        j = Concat<axis=1>(u, e1)
        p3 = GlobalMaxPool(j)
        f3 = Flatten(p3)
        y = MatMul(f3, g)
        }}"""
    )
    segments = check_split(model)
    assert all("e1" in names for names in carried(segments))


def test_cheap_values_are_computed_again_where_that_is_smaller() -> None:
    """The pooled copy of a value that is carried anyway costs nothing to make again."""
    model = exit_model(f"""(float[N,64] x) => (float[N,2] exit_1, float[N,2] y)
        <{weights(a=(64, 64), b=(64, 64), h=(64, 2), g=(128, 2))}> {{
        m = MatMul(x, a)
        r = Relu(m)
        exit_1 = MatMul(r, h)
        n = MatMul(r, b)
        t = Tanh(m)
        j = Concat<axis=1>(n, t)
        y = MatMul(j, g)
        }}""")
    (names,) = carried(check_split(model))
    assert names == ["m"]
    assert naive_boundary_bytes(gated(model)) == [512.0]


def test_a_mask_is_carried_small_and_expanded_behind_the_boundary() -> None:
    segments = check_split(exit_model(bert()), sizes={"L": 6})
    assert [set(names) - {"l"} for names in carried(segments)] == [{"m4", "x1"}, {"m4", "x2"}]
    model = gated(exit_model(bert()))
    for report in explain(model):
        assert report.bytes_per_sample < report.naive_bytes_per_sample
        assert "m4" in str(report)


@pytest.mark.parametrize("order", ["heads·batch", "batch·heads"])
def test_merged_batches_are_taken_apart_or_avoided(order: str) -> None:
    """[B, 2, 3] merged to [2·B, 3] or [B·2, 3] and worked on there, with an exit in between."""
    turn = "[1,0,2]" if order == "heads·batch" else "[0,1,2]"
    shape = [2, -1, 3] if order == "heads·batch" else [-1, 2, 3]
    model = exit_model(f"""(float[N,2,3] x) => (float[N,3] exit_1, float[N,3] y)
        <{weights(a=(3, 3), b=(3, 3))}, {vectors(flat=[-1, 3], apart=shape, one=[1])}> {{
        t = Transpose<perm={turn}>(x)
        m = Reshape(t, flat)
        w = MatMul(m, a)
        e = Reshape(w, apart)
        f = Transpose<perm={turn}>(e)
        exit_1 = ReduceSum<keepdims=0>(f, one)
        r = Tanh(w)
        u = MatMul(r, b)
        g = Reshape(u, apart)
        i = Transpose<perm={turn}>(g)
        y = ReduceSum<keepdims=0>(i, one)
        }}""")
    segments = check_split(model)
    (spec,) = segments[0].contract.boundary
    assert spec.shape == ("batch", 2, 3)
    assert spec.batch_axis == 0


@pytest.mark.parametrize("width", ["L", "3"])
@pytest.mark.parametrize("inner", ["L", "2"])
def test_a_trunk_that_stays_merged(inner: str, width: str) -> None:
    """[B, i, w] as [B·i, w] from the first node to the heads; i or w may be dynamic, but not both."""
    model = exit_model(
        f"""(float[N,{inner},{width}] x) => (float[N,{width}] exit_1, float[N,{width}] y)
        <{vectors(one=[1], flat=[-1])}> {{
        s = Shape(x)
        w = Shape<start=2, end=3>(x)
        f = Concat<axis=0>(flat, w)
        m = Reshape(x, f)
        t = Tanh(m)
        e = Reshape(t, s)
        exit_1 = ReduceMean<keepdims=0>(e, one)
        u = Softmax(t)
        v = Mul(u, t)
        b = Reshape(v, s)
        y = ReduceMean<keepdims=0>(b, one)
        }}"""
    )
    segments = check_split(model, sizes={"L": 5})
    assert any(spec.batch_axis == 0 for spec in segments[0].contract.boundary)


def test_windows_merged_with_the_batch() -> None:
    """[B, 4, 4, 6] -> windows [B·4, 4, 6], with the number of rows read from a shape."""
    model = exit_model(f"""(float[N,4,4,6] x) => (float[N,6] exit_1, float[N,6] y)
        <{weights(a=(6, 6), b=(6, 6))}, {vectors(zero=[0], two=[2], six=[6], four=[4], rest=[4, 6], spatial=[1, 2])}> {{
        shape = Shape(x)
        n = Gather<axis=0>(shape, zero)
        s = Concat<axis=0>(n, two, two, two, two, six)
        c = Reshape(x, s)
        t = Transpose<perm=[0,1,3,2,4,5]>(c)
        nw = Mul(n, four)
        ws = Concat<axis=0>(nw, rest)
        w = Reshape(t, ws)
        tr = Transpose<perm=[0,2,1]>(w)
        at = MatMul(w, tr)
        sm = Softmax(at)
        o = MatMul(sm, w)
        p = MatMul(o, a)
        back = Reshape(p, s)
        bt = Transpose<perm=[0,1,3,2,4,5]>(back)
        fs = Concat<axis=0>(n, four, four, six)
        f = Reshape(bt, fs)
        exit_1 = ReduceMean<keepdims=0>(f, spatial)
        q = Tanh(p)
        z = MatMul(q, b)
        back2 = Reshape(z, s)
        bt2 = Transpose<perm=[0,1,3,2,4,5]>(back2)
        f2 = Reshape(bt2, fs)
        y = ReduceMean<keepdims=0>(f2, spatial)
        }}""")
    check_split(model)


def test_time_major_recurrence() -> None:
    shapes = weights(w=(2, 12, 4), r=(2, 12, 3), w2=(2, 12, 6), r2=(2, 12, 3), h=(6, 2))
    model = exit_model(
        f"""(float[5,N,4] x) => (float[N,2] exit_1, float[N,2] y)
        <{shapes}, {vectors(zero=[0], merged=[0, 0, 6])}> {{
        s1, h1, c1 = LSTM<direction="bidirectional", hidden_size=3>(x, w, r)
        t1 = Transpose<perm=[0,2,1,3]>(s1)
        j1 = Reshape(t1, merged)
        a1 = ReduceMean<keepdims=0>(j1, zero)
        exit_1 = MatMul(a1, h)
        s2, h2, c2 = LSTM<direction="bidirectional", hidden_size=3>(j1, w2, r2, , , h1, c1)
        t2 = Transpose<perm=[0,2,1,3]>(s2)
        j2 = Reshape(t2, merged)
        a2 = ReduceMean<keepdims=0>(j2, zero)
        y = MatMul(a2, h)
        }}""",
        {"x": 1},
    )
    segments = check_split(model)
    assert all(spec.batch_axis == 0 for spec in segments[0].contract.boundary)


def test_a_batch_size_that_is_data_is_the_whole_batchs() -> None:
    """One Shape serves as a shape and as a feature; the feature keeps its value when rows have left."""
    model = exit_model(f"""(float[N,4] x) => (float[N,4] exit_1, float[N,4] y)
        <{weights(a=(4, 4))}, {vectors(zero=[0], four=[4], twice=[2, 2])}, float eight = {{8.0}}> {{
        shape = Shape(x)
        n = Gather<axis=0>(shape, zero)
        exit_1 = MatMul(x, a)
        m = MatMul(exit_1, a)
        s = Concat<axis=0>(n, twice)
        r = Reshape(m, s)
        back = Concat<axis=0>(n, four)
        flat = Reshape(r, back)
        f = Cast<to=1>(n)
        g = Div(f, eight)
        y = Add(flat, g)
        }}""")
    check_split(model)


def test_row_numbers_are_data_or_an_index() -> None:
    """x[arange(B), position] counts the rows that are there; arange(B) added to the features counts the batch's."""
    model = exit_model(f"""(float[N,3,4] x, int64[N,3] ids) => (float[N,4] exit_1, float[N,4] y)
        <{weights(a=(4, 4))}, {vectors(zero=[0], axis=[1])}, int64 start = {{0}}, int64 step = {{1}}> {{
        shape = Shape(x)
        n = Gather<axis=0>(shape, start)
        numbers = Range(start, n, step)
        first = Gather<axis=1>(x, start)
        exit_1 = MatMul(first, a)
        m = MatMul(x, a)
        position = ArgMax<axis=1, keepdims=0>(ids)
        column = Unsqueeze(numbers, axis)
        place = Unsqueeze(position, axis)
        index = Concat<axis=1>(column, place)
        picked = GatherND(m, index)
        f = Cast<to=1>(column)
        y = Add(picked, f)
        }}""")
    check_split(model)


@pytest.mark.parametrize("condition", ["input", "constant"])
def test_a_branch_captures_values_from_outside(condition: str) -> None:
    flag, more = ("flag", "bool flag, ") if condition == "input" else ("truth", "")
    model = exit_model(
        f"""({more}float[N,4] x) => (float[N,4] exit_1, float[N,4] y)
        <{weights(a=(4, 4), b=(4, 4))}, bool truth = {{1}}, {vectors(zero=[0])}> {{
        m = MatMul(x, a)
        t = Tanh(m)
        exit_1 = MatMul(t, b)
        z = If({flag}) <
            then_branch = then () => (float[K,4] p) {{ p = Add(m, t) }},
            else_branch = otherwise () => (float[K,4] q) {{
                s = Shape(x)
                n = Gather<axis=0>(s, zero)
                c = Cast<to=1>(n)
                u = Mul(x, c)
                q = MatMul(u, a) }}>
        y = MatMul(z, b)
        }}""",
        {"flag": None},
    )
    check_split(model)


def test_a_loop_carries_rows_and_captures_them() -> None:
    model = exit_model(f"""(float[N,4] x) => (float[N,4] exit_1, float[N,4] y)
        <{weights(a=(4, 4), b=(4, 4))}, int64 rounds = {{3}}, bool going = {{1}}, {vectors(zero=[0])}> {{
        m = MatMul(x, a)
        exit_1 = MatMul(m, b)
        last, all = Loop(rounds, going, m) <
            body = round (int64 i, bool c, float[K,4] s) => (bool d, float[K,4] r, float[K,4] o) {{
            d = Identity(c)
            w = MatMul(s, a)
            v = Add(w, x)
            r = Tanh(v)
            o = Relu(r) }}>
        total = ReduceSum<keepdims=0>(all, zero)
        z = Add(last, total)
        y = MatMul(z, b)
        }}""")
    check_split(model)
