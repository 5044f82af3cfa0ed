"""The minimum cut against all cuts of small graphs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from etbac.passes.split.min_cut import INFINITE, Network

Edges = list[tuple[int, int, int]]
VERTICES = 6
edges = st.lists(
    st.tuples(st.integers(0, VERTICES - 1), st.integers(0, VERTICES - 1), st.integers(0, 9)), min_size=1, max_size=14
)


def _network(graph: Edges) -> Network:
    network = Network()
    for tail, head, capacity in graph:
        network.connect(tail, head, capacity)
    return network


def _capacity(graph: Edges, inside: Sequence[bool]) -> int:
    return sum(capacity for tail, head, capacity in graph if inside[tail] and not inside[head])


@given(edges)
def test_no_cut_is_smaller(graph: Edges) -> None:
    source, sink = 0, VERTICES - 1
    total, side = _network(graph).source_side(source, sink)
    inner = product([True, False], repeat=VERTICES - 2)
    assert total == min(_capacity(graph, [True, *choice, False]) for choice in inner)
    assert source in side
    assert sink not in side
    assert _capacity(graph, [vertex in side for vertex in range(VERTICES)]) == total


def test_what_cannot_be_cut_is_infinite() -> None:
    total, _ = _network([(0, 1, INFINITE), (1, 5, INFINITE)]).source_side(0, 5)
    assert total >= INFINITE


def test_of_equal_cuts_the_one_nearest_the_source() -> None:
    _, side = _network([(0, 1, 3), (1, 2, 3), (2, 5, 3)]).source_side(0, 5)
    assert side == {0}
