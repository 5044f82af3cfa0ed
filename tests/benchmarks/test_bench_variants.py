"""Early exit done in other ways gives the chain's answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.small_network import make_images, make_network

import etbac
from benchmarks.baselines import whole_in_int8, with_ifs
from benchmarks.bench.eager import Eager, Masked
from benchmarks.bench.overhead import LIMIT_US, overhead
from benchmarks.bench.waiting import WaitingChain
from etbac.frontend.torch_export import from_module
from etbac.passes.exit_model import ExitModel
from etbac.profiles.race import Batch, random_batches
from etbac.runtime.chain import Chain, load

ROWS = 24


@pytest.fixture(scope="module")
def exported() -> ExitModel:
    return from_module(make_network(), make_images(2), {"path": "small"})


@pytest.fixture(scope="module")
def chain(exported: ExitModel, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    path = tmp_path_factory.mktemp("small") / "engines"
    etbac.compile(exported.copy(), path)
    return load(path)


@pytest.fixture(scope="module", params=["some at each", "all at the first", "nobody", "all at the second"])
def thresholds(request: pytest.FixtureRequest, chain: Chain) -> dict[int, float]:
    """No confidence is near one of them."""
    first, second, _ = chain.run_all(make_images(ROWS)).confidence
    late = second[first < np.median(first)]
    return {
        "some at each": {1: float(np.median(first)), 2: float(np.median(late))},
        "all at the first": {1: -1.0, 2: 2.0},
        "nobody": {1: 2.0, 2: 2.0},
        "all at the second": {1: 2.0, 2: -1.0},
    }[request.param]


@pytest.fixture(scope="module")
def ways(
    exported: ExitModel, chain: Chain, thresholds: dict[int, float], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Callable[[Batch], np.ndarray]]:
    return {
        "if": with_ifs(exported, thresholds, tmp_path_factory.mktemp("if")),
        "waiting": WaitingChain(chain, thresholds),
        "masked": Masked(make_network(), thresholds),
    }


@pytest.mark.parametrize("way", ["if", "waiting", "masked"])
@pytest.mark.parametrize("rows", [1, 5, ROWS])
def test_every_way_of_leaving_early_gives_the_chains_answers(
    chain: Chain, ways: dict[str, Callable[[Batch], np.ndarray]], thresholds: dict[int, float], way: str, rows: int
) -> None:
    batch = {name: array[:rows] for name, array in make_images(ROWS).items()}
    expected = np.asarray(chain.run(batch, thresholds).prediction)
    np.testing.assert_allclose(ways[way](batch), expected, rtol=1e-4, atol=1e-5)


def test_the_clocked_engines_are_the_chains_and_not_all_time_is_in_them(
    chain: Chain, thresholds: dict[int, float]
) -> None:
    batches = random_batches(make_images(ROWS), 4, 1 << 20)
    found = overhead(chain, thresholds, batches)
    assert found["us"] > 0
    assert found["allowed_us"] >= LIMIT_US


def test_the_trunk_is_left_without_hooks(ways: dict[str, Callable[[Batch], np.ndarray]]) -> None:
    masked = ways["masked"]
    assert isinstance(masked, Masked)
    masked(make_images(3))
    assert not any(module._forward_hooks for module in masked._network.trunk.modules())


def test_the_full_model_in_pytorch_and_in_int8(exported: ExitModel, chain: Chain, tmp_path: Path) -> None:
    images = make_images(ROWS)
    full = np.asarray(chain.full(images))
    np.testing.assert_allclose(Eager(make_network().trunk)(images), full, rtol=1e-4, atol=1e-5)
    narrow = whole_in_int8(exported, images, tmp_path)(images)
    assert 0 < np.abs(narrow - full).max() < 0.1 * np.abs(full).max()
