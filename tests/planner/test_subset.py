from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.two_blocks import INPUTS, exit_model_file, make_inputs

import etbac
from etbac.compiler import compile
from etbac.metrics import METRICS
from etbac.passes.gates.patience import Patience
from etbac.planner.collect import collect
from etbac.planner.evidence import Parts
from etbac.planner.memory import UNLIMITED, Memory
from etbac.planner.samples import SampleSet
from etbac.planner.statistics import ExitStatistics
from etbac.planner.subset import best_subset, gates_with_memory, keep, recomputes
from etbac.profiles.matrix import Matrix

EXITS, N, BATCH = (1, 2, 3, 4), 600, 4
GATES = dict.fromkeys(EXITS, Patience(k=1))


def statistics(rng: np.random.Generator, wrong=(0.3, 0.2, 0.1, 0.1)) -> ExitStatistics:
    """Exits that err independently of each other, so that two which agree are nearly always right."""
    labels = rng.integers(0, 10, N)
    errs = rng.random((4, N)) < np.reshape(wrong, (4, 1))
    answers = np.where(errs, (labels + rng.integers(1, 10, (4, N))) % 10, labels)
    confidence = np.stack([GATES[1].recomputed(answers[: k + 1]) for k in range(4)])
    right = np.concatenate([~errs, np.ones((1, N), bool)])
    return ExitStatistics(EXITS, confidence, right, np.ones(N, bool), labels, answers)


def matrix(head_ms=(1.0, 1.0, 1.0, 1.0)) -> Matrix:
    heads = np.array([[*head_ms, 0.0]] * 2).T
    gathers = np.array([[0.0, 0.1, 0.1, 0.1, 0.1]] * 2).T
    trunk = np.array([[10.0, 10, 10, 10, 40], [40.0, 40, 40, 40, 160]]).T
    return Matrix((*EXITS, 0), (1, 4), trunk + heads + gathers, np.array([80.0, 320.0]), heads, gathers)


def chosen(search: ExitStatistics, table: Matrix, memory: Memory = UNLIMITED) -> tuple[int, ...]:
    return best_subset(search, table, GATES, BATCH, 0.98, 0.0, memory)


def test_exits_that_are_kept_count_agreements_among_themselves():
    search = statistics(np.random.default_rng(0))
    fewer = keep(search, (1, 4), GATES)
    assert fewer.exits == (1, 4)
    assert search.summaries is not None
    agree = search.summaries[3] == search.summaries[0]
    np.testing.assert_array_equal(fewer.confidence, [np.zeros(N), agree])
    np.testing.assert_array_equal(fewer.scores, search.scores[[0, 3, 4]])
    np.testing.assert_array_equal(keep(fewer, (4,), GATES).confidence, np.zeros((1, N)))


def test_the_parts_of_a_metric_are_kept_with_the_exits():
    search = statistics(np.random.default_rng(0))
    parts = Parts(search.scores[..., None] * 1.0, search.full_scores[:, None] * 1.0, lambda mean: float(mean[0]))
    fewer = keep(replace(search, parts=parts, units=np.arange(N)), (1, 4), GATES)
    assert fewer.at(1).chain_metric == search.scores[3].mean()
    assert fewer.units is not None


def test_confidences_that_no_gate_recomputes_stay():
    search = statistics(np.random.default_rng(1))
    fewer = keep(search, (2, 3), {3: GATES[3]})
    np.testing.assert_array_equal(fewer.confidence[0], search.confidence[1])


def test_dear_heads_are_left_out():
    search = statistics(np.random.default_rng(2))
    assert chosen(search, matrix(head_ms=(500.0, 1.0, 500.0, 1.0))) == (2, 4)


def test_where_heads_are_cheap_the_earliest_two_that_agree_stay():
    search = statistics(np.random.default_rng(3), wrong=(0.01, 0.01, 0.01, 0.01))
    assert chosen(search, matrix(head_ms=(0.1, 0.1, 0.1, 0.1)))[:2] == (1, 2)


def test_heads_fit_into_the_memory():
    search = statistics(np.random.default_rng(4))
    sizes = dict(zip(EXITS, (100, 10, 100, 10), strict=True))
    assert sum(sizes[exit_id] for exit_id in chosen(search, matrix(), Memory(sizes, 30))) <= 30


BUILT = (2, 3, 5, 7)
BUILT_GATES = {exit_id: Patience(k=k) for exit_id, k in zip(BUILT, (1, 1, 2, 3), strict=True)}


def collected(folder: Path, exits: tuple[int, ...]) -> ExitStatistics:
    """Of a chain that is built with these exits."""
    gates = {exit_id: BUILT_GATES[exit_id] for exit_id in exits}
    model = exit_model_file(folder / "model.onnx", exits=BUILT)
    samples = SampleSet(INPUTS, make_inputs(30), np.arange(30) % 3)
    with etbac.load(compile(model, folder / "engines", exits=exits, gates=gates).path) as chain:
        assert gates_with_memory(chain.manifest) == gates
        return collect(chain, samples, METRICS["accuracy"])


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> ExitStatistics:
    return collected(tmp_path_factory.mktemp("subset"), BUILT)


def test_what_a_chain_says_is_told_from_what_it_answered(every: ExitStatistics):
    assert every.confidence[1:].any()
    assert recomputes(every, BUILT_GATES)
    assert recomputes(every.take(np.arange(9)), BUILT_GATES)
    assert not recomputes(every, BUILT_GATES | {7: Patience(k=1)})
    assert not recomputes(replace(every, summaries=None), BUILT_GATES)


@pytest.mark.parametrize("exits", [(3, 7), (2, 5, 7)])
def test_a_chain_with_fewer_exits_says_what_was_told_of_it(
    every: ExitStatistics, exits: tuple[int, ...], tmp_path: Path
):
    told, built = keep(every, exits, BUILT_GATES), collected(tmp_path, exits)
    assert told.exits == built.exits
    for name in ("confidence", "scores", "summaries"):
        np.testing.assert_array_equal(getattr(told, name), getattr(built, name))
