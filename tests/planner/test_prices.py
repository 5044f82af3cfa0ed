from dataclasses import replace

import numpy as np
import pytest

from etbac.planner.prediction import chain_latency, rebuilt_latency
from etbac.planner.prices import Prices

N, BATCH = 400, 8
SURVIVORS = [400, 300, 120, 30]


def rebuilt(prices: Prices, used: list[bool]) -> float:
    places = [place for place, each in enumerate(used) if each]
    segments = zip([-1, *places], [*places, prices.end], strict=True)
    return float(sum(prices.segment(before, place)[SURVIVORS[before + 1]] for before, place in segments))


def test_with_every_exit_the_segments_cost_what_the_chain_does(matrix):
    for heads in (False, True):
        table = matrix(3, 1, heads)
        expected = chain_latency(table, BATCH, np.array(SURVIVORS) / N)
        assert rebuilt(Prices.expected(table, BATCH, N), [True] * 3) == pytest.approx(expected)


def test_an_exit_that_is_left_out_spares_its_head_and_the_cut_behind_it(matrix):
    table = matrix(3, 1, True)
    reach = np.array([400, 400, 120, 120]) / N
    whole, spared = chain_latency(table, BATCH, reach), rebuilt_latency(table, BATCH, reach, [False, True, False])
    prices = Prices.expected(table, BATCH, N)
    segments = prices.segment(-1, 1)[400] + prices.segment(1, 3)[120]
    assert segments == pytest.approx(spared)
    head, cut = table.head_ms[0, 3], table.cut_ms[1, 3]
    assert whole - rebuilt_latency(table, BATCH, [1, 1, 1, 1], [False, True, True]) != head
    assert chain_latency(table, BATCH, [1] * 4) - rebuilt_latency(
        table, BATCH, [1] * 4, [False, True, True]
    ) == pytest.approx(head + cut)


def test_heads_that_are_not_known_apart_are_paid_by_the_merged_segment(matrix):
    table = matrix(3, 1)
    prices = Prices.expected(table, BATCH, N)
    assert prices.segment(-1, 3)[N] == pytest.approx(table.chain_at([BATCH] * 4))
    assert rebuilt_latency(table, BATCH, [1] * 4, [False] * 3) == pytest.approx(table.chain_at([BATCH] * 4))


def test_one_batch_is_priced_at_its_own_sizes(matrix):
    table = matrix(2, 3, True)
    prices = Prices.exactly(table, BATCH)
    sizes = [8, 5, 0]
    assert prices.segment(-1, 0)[8] + prices.segment(0, 1)[5] + prices.segment(1, 2)[0] == pytest.approx(
        table.chain_at(sizes)
    )


@pytest.mark.parametrize("used", [[0, 1, 2], [1], []])
def test_what_a_batch_costs_beyond_its_engines_is_paid_by_every_segment_that_is_left(matrix, used):
    plain = matrix(3, 1, True)
    table = replace(plain, entry_ms=np.full(6, 0.5), step_ms=np.full(6, 0.25))
    sizes = np.array([[8, 5, 2, 1]])
    ours, without = (Prices.exactly(each, BATCH).total(sizes, used)[0] for each in (table, plain))
    assert ours - without == pytest.approx(0.5 + 0.25 * len(used))
    reach = [1.0, 0.5, 0.25, 0.125]
    kept = [place in used for place in range(3)]
    more = rebuilt_latency(table, BATCH, reach, kept) - rebuilt_latency(plain, BATCH, reach, kept)
    behind = [1 - (1 - reach[place + 1]) ** BATCH for place in used]
    assert more == pytest.approx(0.5 + 0.25 * sum(behind))
