from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from etbac.profiles.sizes import MORE, powers_of_two, where_it_bends


def test_sizes_are_powers_of_two_and_the_last():
    assert powers_of_two(32) == (1, 2, 4, 8, 16, 32)
    assert powers_of_two(1) == (1,)
    assert powers_of_two(12) == (1, 2, 4, 8, 12)


def test_a_straight_line_needs_no_more_sizes():
    assert where_it_bends(lambda size: 1 + 2.0 * size, 32) == powers_of_two(32)


def test_sizes_are_added_at_a_step():
    added = set(where_it_bends(lambda size: 1.0 if size <= 20 else 2.0, 32)) - set(powers_of_two(32))
    assert added
    assert all(16 < size < 32 for size in added)


@given(st.integers(1, 64), st.lists(st.floats(0.1, 10), min_size=64, max_size=64))
def test_there_are_few_more_and_each_size_is_looked_at_once(last: int, latencies: list[float]):
    asked: list[int] = []

    def latency(size: int) -> float:
        asked.append(size)
        return latencies[size - 1]

    sizes = where_it_bends(latency, last)
    assert list(sizes) == sorted(set(sizes))
    assert set(powers_of_two(last)) <= set(sizes) <= set(asked)
    assert len(sizes) <= len(powers_of_two(last)) + MORE
    assert len(asked) == len(set(asked))
