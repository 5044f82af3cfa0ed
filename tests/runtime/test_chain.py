from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.two_blocks import EXITS, make_engine_dir, make_inputs, make_weights, reference

import etbac
from etbac.contract import Plan
from etbac.engine_dir import EngineDir, write_plan
from etbac.errors import EngineDirError, EtbacError, InputError, UsageError
from etbac.runtime.chain import Chain, load
from etbac.runtime.results import Result, StageRun
from etbac.runtime.trace import Tracer

IDS = (*EXITS, 0)
rows = st.integers(1, 40)  # max_batch is 8
seeds = st.integers(0, 1000)


@pytest.fixture(scope="module")
def padded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An engine directory whose plan changes."""
    return make_engine_dir(tmp_path_factory.mktemp("padded") / "engines").path


def assert_answers(result: Result, inputs: dict[str, np.ndarray], places: np.ndarray) -> None:
    """Every row has the answer of the exit at its place, and says so."""
    expected = reference(make_weights(), inputs)
    each = np.arange(len(places))
    np.testing.assert_array_equal(result.exit, places)
    np.testing.assert_array_equal(result.exit_id, np.array(IDS)[places])
    np.testing.assert_allclose(result.prediction, expected.answers[places, each], rtol=1e-4, atol=1e-5)
    confidence = np.where(places == len(EXITS), np.nan, expected.confidence[places, each])
    np.testing.assert_allclose(result.confidence, confidence, rtol=1e-5)


def first_places(inputs: dict[str, np.ndarray], thresholds: list[float]) -> np.ndarray:
    confidence = reference(make_weights(), inputs).confidence
    sure = [confidence[place] >= threshold for place, threshold in enumerate(thresholds)]
    return np.argmax([*sure, np.ones(confidence.shape[1], bool)], axis=0)


@given(rows, seeds, st.lists(st.sampled_from([0.0, 0.35, 0.5, 0.6, 0.8, 0.95, np.inf]), min_size=2, max_size=2))
def test_samples_leave_at_the_first_exit_that_is_sure(chain: Chain, n: int, seed: int, thresholds: list[float]) -> None:
    inputs = make_inputs(n, seed)
    result = chain.run(inputs, thresholds=dict(zip(EXITS, thresholds, strict=True)))
    assert_answers(result, inputs, first_places(inputs, thresholds))


@given(st.lists(st.sampled_from(IDS), min_size=1, max_size=40), seeds)
def test_exit_at_forces_every_samples_exit(chain: Chain, ids: list[int], seed: int) -> None:
    inputs = make_inputs(len(ids), seed)
    assert_answers(chain.run(inputs, exit_at=ids), inputs, np.array([IDS.index(exit_id) for exit_id in ids]))


@given(rows, seeds, st.floats(0.3, 1.0))
def test_stream_gives_each_row_once_and_as_run_does(chain: Chain, n: int, seed: int, threshold: float) -> None:
    inputs = make_inputs(n, seed)
    whole = chain.run(inputs, thresholds=threshold)
    parts = list(chain.stream(inputs, thresholds=threshold))
    np.testing.assert_array_equal(np.sort(np.concatenate([part.rows for part in parts])), np.arange(n))
    for part in parts:
        assert (whole.exit_id[part.rows] == part.exit_id).all()
        np.testing.assert_array_equal(whole.prediction[part.rows], part.prediction)
        np.testing.assert_array_equal(whole.confidence[part.rows], part.confidence)


@given(rows, seeds)
def test_run_all_gives_every_exits_answer(chain: Chain, n: int, seed: int) -> None:
    inputs = make_inputs(n, seed)
    expected = reference(make_weights(), inputs)
    everything = chain.run_all(inputs)
    assert everything.exit_ids == IDS
    np.testing.assert_allclose(everything.prediction, expected.answers, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(everything.confidence[:-1], expected.confidence[:-1], rtol=1e-5)
    assert np.isnan(everything.confidence[-1]).all()


@pytest.mark.parametrize("n", [1, 8, 9, 17])
def test_with_exits_off_the_chain_answers_as_the_full_model(chain: Chain, n: int) -> None:
    inputs = make_inputs(n)
    result = chain.run(inputs, thresholds="off")
    assert (result.exit_id == 0).all()
    np.testing.assert_allclose(result.prediction, chain.full(inputs), rtol=1e-4, atol=1e-5)


def test_without_a_plan_nobody_leaves(chain: Chain) -> None:
    assert (chain.run(make_inputs(20)).exit_id == 0).all()


def test_the_plan_is_the_default_and_thresholds_override_it(tmp_path: Path) -> None:
    from support.two_blocks import make_engine_dir

    engine_dir = make_engine_dir(tmp_path / "engines")
    write_plan(engine_dir, "onnxruntime-cpu-fp32", Plan((3,), {3: 0.5, 7: 0.0}, precision=0.99, certified=False))
    inputs = make_inputs(20)
    with etbac.load(engine_dir.path) as chain:
        assert_answers(chain.run(inputs), inputs, first_places(inputs, [0.5, np.inf]))  # exit 7 is not in the plan
        assert_answers(chain.run(inputs, thresholds=0.4), inputs, first_places(inputs, [0.4, 0.4]))
        assert (chain.run(inputs, thresholds="off").exit_id == 0).all()


def test_exits_that_a_mapping_leaves_out_let_nobody_leave(chain: Chain) -> None:
    inputs = make_inputs(20)
    assert_answers(chain.run(inputs, thresholds={7: 0.5}), inputs, first_places(inputs, [np.inf, 0.5]))


def test_the_switch_turns_exits_off_whatever_is_asked(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETBAC_EXITS", "off")
    assert (chain.run(make_inputs(5), thresholds=0.0).exit_id == 0).all()
    monkeypatch.setenv("ETBAC_EXITS", "0")
    with pytest.raises(UsageError, match="ETBAC_EXITS=0"):
        chain.run(make_inputs(5))


def test_a_threshold_of_infinity_holds_back_even_infinite_confidence(chain: Chain) -> None:
    assert (chain.run(make_inputs(5), thresholds=np.inf).exit_id == 0).all()


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [({4: 0.5}, "no exit 4 .* 3, 7"), (np.nan, "NaN"), ("on", "'on'"), ({3: "high"}, "'high'"), ([0.5], r"\[0.5\]")],
)
def test_thresholds_that_make_no_sense_are_refused(chain: Chain, thresholds: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        chain.run(make_inputs(2), thresholds=thresholds)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("exit_at", "message"), [([3], "each of the 2 rows"), ([3, 5], "no exit 5"), ([3.0, 7.0], "float64")]
)
def test_exit_at_that_makes_no_sense_is_refused(chain: Chain, exit_at: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        chain.run(make_inputs(2), exit_at=exit_at)


def test_stream_checks_before_the_first_part_is_asked_for(chain: Chain) -> None:
    with pytest.raises(InputError):
        chain.stream({})
    with pytest.raises(InputError):
        chain.stream(make_inputs(2), exit_at=[3])
    with pytest.raises(UsageError):
        chain.stream(make_inputs(2), thresholds={4: 0.5})


def test_the_trace_holds_the_size_of_every_run_of_an_engine(chain: Chain) -> None:
    trace = Tracer()
    chain.run(make_inputs(10), exit_at=[3, 7, 0, 0, 0, 0, 0, 0, 3, 3], trace=trace)
    assert trace.runs == [StageRun(0, 8), StageRun(1, 7), StageRun(2, 6), StageRun(0, 2)]


def test_threads_get_their_own_answers(chain: Chain) -> None:
    batches = [make_inputs(1 + seed % 20, seed) for seed in range(60)]
    alone = [chain.run(inputs, thresholds=0.6) for inputs in batches]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda inputs: chain.run(inputs, thresholds=0.6), batches))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.prediction, other.prediction)
        np.testing.assert_array_equal(one.exit_id, other.exit_id)


def test_a_closed_chain_says_so(engines: Path) -> None:
    with etbac.load(engines) as chain:
        pass
    for answer in (chain.run, chain.run_all, chain.full):
        with pytest.raises(EtbacError, match="closed"):
            answer(make_inputs(1))


@pytest.mark.parametrize("how", ["changed", "truncated", "missing"])
def test_weights_that_differ_are_the_error_whatever_loading_met_with(tmp_path: Path, how: str) -> None:
    path = make_engine_dir(tmp_path / "engines").path
    (weights,) = path.glob("weights.*.bin")
    content = weights.read_bytes()
    if how == "missing":
        weights.unlink()
    else:
        weights.write_bytes(content[:10] if how == "truncated" else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(EngineDirError, match=rf"{weights.name} (has changed|is missing).*Rebuild with"):
        load(path)


def test_a_directory_that_is_rebuilt_while_it_is_opened_is_opened_again(tmp_path: Path, monkeypatch) -> None:
    path = make_engine_dir(tmp_path / "engines").path
    real, rebuilt = Chain.__init__, []

    def slow(chain: Chain, *arguments: object) -> None:
        if not rebuilt:
            rebuilt.append(make_engine_dir(path, seed=1))
        real(chain, *arguments)

    monkeypatch.setattr(Chain, "__init__", slow)
    inputs = make_inputs(4)
    with load(path) as chain:
        expected = reference(make_weights(seed=1), inputs).answers[-1]
        np.testing.assert_allclose(chain.run(inputs).prediction, expected, rtol=1e-4, atol=1e-5)


def tables(exit_ids: tuple[int, ...]) -> st.SearchStrategy[dict[int, dict[int, int]]]:
    sizes = st.dictionaries(
        st.integers(1, 9), st.integers(1, 9), min_size=4
    )  # also such as are no padding, or beyond max_batch
    return st.fixed_dictionaries(dict.fromkeys(exit_ids, sizes))


@given(tables(IDS), rows, seeds, st.lists(st.sampled_from([0.35, 0.5, 0.6, 0.8, np.inf]), min_size=2, max_size=2))
@settings(max_examples=60)
def test_padding_changes_no_answer(
    padded: Path, table: dict[int, dict[int, int]], n: int, seed: int, thresholds: list[float]
) -> None:
    plan = Plan(EXITS, dict(zip(EXITS, thresholds, strict=True)), precision=0.99, certified=False, padding=table)
    engine_dir = write_plan(EngineDir.open(padded), "onnxruntime-cpu-fp32", plan)
    inputs = make_inputs(n, seed)
    places = first_places(inputs, thresholds)
    forced = np.random.default_rng(seed).choice(IDS, n)
    with etbac.load(engine_dir.path) as chain:
        trace = Tracer()
        assert_answers(chain.run(inputs, trace=trace), inputs, places)
        assert_answers(chain.run(inputs, exit_at=forced), inputs, np.array([IDS.index(each) for each in forced]))
    reach = [(stage, (part >= stage).sum()) for part in np.split(places, range(8, n, 8)) for stage in range(3)]
    assert trace.runs == [StageRun(stage, larger(table[IDS[stage]], rows, stage)) for stage, rows in reach if rows]


def larger(sizes: dict[int, int], rows: int, stage: int) -> int:
    padded_to = sizes.get(rows, rows)
    return padded_to if stage and rows < padded_to <= 8 else rows
