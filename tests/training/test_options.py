from __future__ import annotations

import pytest

from etbac.errors import UsageError
from etbac.training import ExitOptions, RunOptions, TrunkOptions


def test_the_learning_rate_rises_once_and_falls_to_nothing() -> None:
    options = TrunkOptions(learning_rate=0.4, warm_up=0.25)
    rates = [options.rate(step / 100) for step in range(101)]
    assert max(rates) == rates[25] == pytest.approx(0.4)
    assert rates[:26] == sorted(rates[:26])
    assert rates[25:] == sorted(rates[25:], reverse=True)
    assert rates[-1] == pytest.approx(0)


def test_pictures_grow_to_their_full_size() -> None:
    options = TrunkOptions(epochs=5, scales=(0.5, 0.75, 1.0))
    assert [options.scale(epoch) for epoch in range(5)] == [0.5, 0.5, 0.75, 0.75, 1.0]


def test_without_a_warm_up_it_only_falls() -> None:
    options = ExitOptions(learning_rate=0.4)
    rates = [options.rate(step / 10) for step in range(11)]
    assert rates[0] == pytest.approx(0.4)
    assert rates == sorted(rates, reverse=True)


def test_what_there_is_not_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="no optimiser 'adam'; there are sgd, adamw"):
        TrunkOptions(optimizer="adam")
    with pytest.raises(UsageError, match="on 2 samples a step or more; found 1"):
        ExitOptions(batch_size=1)
    with pytest.raises(UsageError, match="'int8': there are no, fp16, bf16"):
        RunOptions(precision="int8")


def test_pictures_with_targets_in_them_are_left_as_they_are() -> None:
    options = TrunkOptions.of("segmentation", epochs=3)
    assert (options.epochs, options.padding, options.scales, options.optimizer) == (3, None, (1.0,), "adamw")
    assert TrunkOptions.of("classification", epochs=3) == TrunkOptions(epochs=3)
    fine_tuned = TrunkOptions.of("classification", True, epochs=3)
    assert (fine_tuned.optimizer, fine_tuned.learning_rate) == ("adamw", 2e-4)
    assert (fine_tuned.padding, fine_tuned.scales) == (TrunkOptions.padding, TrunkOptions.scales)
    assert TrunkOptions.of("classification", True, learning_rate=0.5).learning_rate == 0.5
    with pytest.raises(UsageError, match="whose targets lie in them"):
        TrunkOptions.of("pose", scales=(0.5, 1.0))
    with pytest.raises(UsageError, match="whose targets lie in them"):
        TrunkOptions().checked("segmentation")
