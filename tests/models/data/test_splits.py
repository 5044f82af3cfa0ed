from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etbac.errors import InputError
from etbac.models.data.splits import SETS, Sizes, Splits, divide, draw

HELD_OUT = ("certify", "search", "fit")


def complete(splits: Splits, train_size: int) -> bool:
    return sorted(np.concatenate([splits.of(name) for name in SETS if name != "test"])) == list(range(train_size))


@given(st.integers(30, 500), st.integers(0, 50), st.integers(0, 2**32))
def test_the_five_sets_are_disjoint_and_complete(train_size: int, test_size: int, seed: int) -> None:
    splits = draw(train_size, test_size, seed)
    assert complete(splits, train_size)
    assert list(splits.of("test")) == list(range(test_size))
    again = draw(train_size, test_size, seed)
    assert all(np.array_equal(splits.of(name), again.of(name)) for name in SETS)
    assert splits.digest() == again.digest()
    assert not splits.by_unit


@given(st.integers(30, 300), st.integers(0, 2**32))
def test_sets_without_units_are_a_permutation_cut_in_four(train_size: int, seed: int) -> None:
    """Checkpoints record such sets by index, and a run that goes on draws them anew."""
    order, sizes = np.random.Generator(np.random.PCG64(seed)).permutation(train_size), Sizes.share_of(train_size)
    splits, start = draw(train_size, 0, seed), 0
    for name, size in (("certify", sizes.certify), ("search", sizes.search), ("fit", sizes.fit)):
        assert splits.of(name).tolist() == sorted(order[start : start + size])
        start += size
    assert splits.of("train").tolist() == sorted(order[start:])


@given(st.lists(st.integers(0, 40), min_size=60, max_size=400), st.integers(0, 2**32))
def test_no_unit_is_in_two_sets(units: list[int], seed: int) -> None:
    try:
        splits = draw(len(units), 10, seed, units=np.array(units))
    except InputError:
        assert max(map(units.count, units)) > len(units) // 30, "small units fill every set"
        return
    assert complete(splits, len(units))
    assert splits.by_unit
    found = [set(np.array(units)[splits.of(name)]) for name in SETS if name != "test"]
    assert sum(map(len, found)) == len(set(units))
    sizes, largest = Sizes.share_of(len(units)), max(units.count(unit) for unit in set(units))
    for name in HELD_OUT:
        assert getattr(sizes, name) <= len(splits.of(name)) < getattr(sizes, name) + largest


@given(st.integers(60, 200), st.integers(0, 2**32))
def test_units_of_one_sample_each_are_drawn_as_samples(train_size: int, seed: int) -> None:
    assert draw(train_size, 5, seed, units=np.arange(train_size)).digest() == draw(train_size, 5, seed).digest()


@given(st.integers(1, 60), st.integers(0, 2**32))
def test_what_was_published_to_validate_with_is_held_out_first(count: int, seed: int) -> None:
    units = np.repeat(np.arange(100), 3)
    first = units < count
    splits = draw(len(units), 0, seed, units=units, first=first)
    validation = set(np.flatnonzero(first))
    held_out = {row for name in HELD_OUT for row in splits.of(name)}
    enough = len(validation) >= Sizes.share_of(300).held_out
    assert validation <= held_out or (enough and held_out <= validation)


def test_few_samples_and_large_units_fill_every_set() -> None:
    for count in range(4, 60):
        assert all(len(draw(count, 1, 0).of(name)) for name in SETS)
    assert all(len(draw(48, 1, 0, units=np.repeat(np.arange(8), 6)).of(name)) == 6 for name in ("search", "fit"))
    with pytest.raises(InputError, match="3 training samples cannot be split"):
        draw(3, 1, 0)


def test_another_seed_draws_other_sets() -> None:
    assert draw(300, 10, 0).digest() != draw(300, 10, 1).digest()


def test_sixty_thousand_samples_are_split_as_documented() -> None:
    splits = draw(60_000, 10_000, 0)
    assert [len(splits.of(name)) for name in SETS] == [40_000, 2_000, 8_000, 10_000, 10_000]
    assert splits.digest() == "8f4f084bee1744a3f3f871aeb0fcd4c253c95b8236be7292afcb303a8534b66a"


def test_sets_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(InputError, match="10 training samples"):
        draw(10, 0, 0, Sizes(2, 4, 4))
    with pytest.raises(InputError, match=r"2 units .* fit and train would be empty"):
        draw(60, 0, 0, units=np.repeat([0, 1], 30))


@given(st.lists(st.text(max_size=3), min_size=2, max_size=60))
def test_a_test_part_that_is_not_published_is_a_fifth_of_the_units(units: list[str]) -> None:
    rows = list(range(len(units)))
    train, test = divide(rows, units)
    assert sorted(train + test) == rows
    held = {units[row] for row in test}
    assert len(held) == max(len(set(units)) // 5, 1)
    assert held.isdisjoint({units[row] for row in train})
    # Whatever the order, the same units are held out.
    _, backwards = divide(rows, units[::-1])
    assert {units[::-1][row] for row in backwards} == held
