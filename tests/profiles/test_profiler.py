import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.any_length import any_length_file
from support.two_blocks import make_engine_dir

import etbac
from etbac.contract import Plan
from etbac.engine_dir import EngineDir, write_plan, write_profile
from etbac.errors import UsageError
from etbac.profiles import profiler, stored
from etbac.profiles.partial import Partial
from etbac.profiles.profile import Profile, Row
from etbac.profiles.sizes import Point
from etbac.runtime.chain import Chain


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path: Path) -> Path:
    """Where interrupted measurements are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    return make_engine_dir(tmp_path / "engines").path


def test_every_engine_the_full_model_and_the_chain_are_measured_and_kept(engines):
    measured = profiler.profile(engines, budget_s=0.1)

    assert measured.batch_sizes == (1, 2, 4, 8)
    assert [(row.engine, row.exit_id) for row in measured.rows] == [
        ("segment-00", 3),
        ("segment-01", 7),
        ("segment-02", 0),
        ("full", 0),
    ]
    assert all(timing.median_ms > 0 for row in measured.rows for timing in row.timings)
    assert [(each.exits, each.batch) for each in measured.chain] == [
        (way, size) for way in ("at first", "evenly") for size in (1, 2, 4, 8)
    ]
    assert measured.chain[-1].sizes == (8, 5, 3)
    directory = EngineDir.open(engines)
    assert Profile.from_json(directory.read_profile(measured.file)) == measured
    assert directory.find(f"profiles/{measured.file}", ".csv") is not None


def test_the_plans_way_of_leaving_is_measured_too(engines):
    plan = Plan((3, 7), {3: 0.9}, 0.9, False, search={"shares": {"3": 0.75, "7": 0.0, "0": 0.25}})
    write_plan(EngineDir.open(engines), "onnxruntime-cpu-fp32", plan)
    measured = profiler.profile(engines, batch_sizes=[8], budget_s=0.05)
    assert [(each.exits, each.sizes) for each in measured.chain] == [
        ("at first", (8, 0, 0)),
        ("evenly", (8, 5, 3)),
        ("as planned", (8, 2, 2)),
    ]


def test_a_profile_is_used_again_for_the_same_engines_on_the_same_machine(engines, monkeypatch):
    monkeypatch.setattr(profiler, "SHORT_BUDGET_S", 0.05)
    said: list[str] = []
    made = []
    for _ in range(2):
        with etbac.load(engines) as chain:
            made.append(profiler.find_or_make(chain, said.append))
    assert made[0] == made[1]
    assert len(said) == 1
    assert "there is no profile" in said[0]


def test_a_profile_of_another_machine_or_other_engines_is_not_used(engines):
    with etbac.load(engines) as chain:
        made = profiler.measure_chain(chain, [1], budget_s=0.01)
        for other in (replace(made, machine={**made.machine, "cores": 999}), replace(made, segments=("0", "1", "2"))):
            stored.write(chain.engine_dir, other)
            with etbac.load(engines) as again:
                assert stored.read(again) is None


def test_a_profile_that_lacks_what_is_measured_today_is_not_used(engines):
    with etbac.load(engines) as chain:
        made = profiler.measure_chain(chain, [1], budget_s=0.01)
        older = {name: value for name, value in made.to_json().items() if name != "beside"}
        write_profile(chain.engine_dir, made.name, json.dumps(older), made.to_csv_text())
    with etbac.load(engines) as again:
        assert stored.read(again) is None


def test_a_size_that_was_not_compiled_for_is_refused(engines):
    with pytest.raises(UsageError, match=r"batch size 16.*up to 8.*--max-batch 16"):
        profiler.profile(engines, batch_sizes=[1, 16])
    with pytest.raises(UsageError, match="start at 1"):
        profiler.profile(engines, batch_sizes=[0, 2])


def test_heads_and_gathers_are_priced_apart(engines):
    measured = profiler.profile(engines, batch_sizes=[1, 8], budget_s=0.1)
    names = [(row.engine, row.exit_id) for row in measured.pieces]
    assert names == [("trunk-00", 3), ("trunk-01", 7), ("gather-01", 7), ("gather-02", 0)]
    matrix = measured.matrix
    assert matrix.head_ms is not None
    assert matrix.cut_ms is not None
    assert matrix.head_ms.shape == matrix.cut_ms.shape == (3, 2)
    assert (matrix.head_ms <= matrix.stage_ms).all()
    assert (matrix.head_ms[-1] == 0).all()
    assert (matrix.cut_ms[0] == 0).all()
    assert (matrix.cut_ms[1:] > 0).all()


@pytest.mark.parametrize(("full", "cuts"), [(20.0, [0.5, 0.5]), (8.0, [2.5, 2.5]), (0.5, [4.0, 5.0])])
def test_what_the_stages_take_longer_than_the_full_model_is_the_cuts(engines, full, cuts):
    """Three stages of 5 ms, whose heads take 1 ms and gathers 0.5: 12 ms without these."""
    measured = profiler.profile(engines, batch_sizes=[1], budget_s=0.05)
    took = {"trunk-00": 4.0, "trunk-01": 4.0, "gather-01": 0.5, "gather-02": 0.5, "full": full}

    def taking(row: Row) -> Row:
        return replace(row, timings=tuple(replace(each, median_ms=took.get(row.engine, 5.0)) for each in row.timings))

    rows, pieces = (tuple(map(taking, each)) for each in (measured.rows, measured.pieces))
    matrix = replace(measured, rows=rows, pieces=pieces).matrix
    np.testing.assert_allclose(matrix.cut_ms[:, 0], [0, *cuts])
    np.testing.assert_allclose(matrix.head_ms[:, 0], [1, 1, 0])


def test_engines_are_timed_between_others_and_again_and_again(engines):
    measured = profiler.profile(engines, batch_sizes=[1, 8], budget_s=0.1)
    assert all(len(row.steady_ms) == 2 for row in (*measured.rows, *measured.pieces))
    assert measured.switching > 0
    (timing, _) = measured.rows[0].timings
    assert len(timing.samples) == min(timing.count, 200)


class StoppedError(Exception):
    """Control-C, as far as a measurement is concerned."""


def test_an_interrupted_measurement_goes_on(engines, monkeypatch):
    monkeypatch.setattr("etbac.profiles.partial.SAVE_EVERY_S", 0.0)
    rounds = []

    def stop(done: float) -> None:
        rounds.append(done)
        if len(rounds) == 7:
            raise StoppedError

    with pytest.raises(StoppedError):
        profiler.profile(engines, batch_sizes=[8], budget_s=60, progress=stop)
    assert EngineDir.open(engines).find("profiles/onnxruntime-cpu-fp32", ".json") is None

    said: list[str] = []
    measured = profiler.profile(engines, batch_sizes=[8], budget_s=1e-9, note=said.append)
    assert said == ["an interrupted measurement of 0 s goes on"]
    assert min(timing.count for row in measured.rows for timing in row.timings) >= 6

    again: list[str] = []
    profiler.profile(engines, batch_sizes=[8], budget_s=1e-9, note=again.append)
    assert again == []


def test_an_interrupted_measurement_of_adaptive_sizes_keeps_them(engines, monkeypatch):
    """Another look at the latency, which is never the same, would choose other ones."""
    monkeypatch.setattr("etbac.profiles.partial.SAVE_EVERY_S", 0.0)
    rounds = []

    def stop(done: float) -> None:
        rounds.append(done)
        if len(rounds) == 3:
            raise StoppedError

    monkeypatch.setattr(profiler, "where_it_bends", lambda latency, last: (1, 3, last))
    with pytest.raises(StoppedError):
        profiler.profile(engines, batch_sizes="adaptive", budget_s=60, progress=stop)
    monkeypatch.setattr(profiler, "where_it_bends", lambda latency, last: (1, 5, last))
    said: list[str] = []
    measured = profiler.profile(engines, batch_sizes="adaptive", budget_s=1e-9, note=said.append)
    assert measured.batch_sizes == (1, 3, 8)
    assert said == ["an interrupted measurement of 0 s goes on"]
    assert profiler.profile(engines, batch_sizes="adaptive", budget_s=1e-9).batch_sizes == (1, 5, 8)


def test_a_damaged_partial_measurement_is_passed_over(cache, monkeypatch):
    monkeypatch.setattr("etbac.profiles.partial.SAVE_EVERY_S", 0.0)
    Partial(["something"]).keep({("a", Point(1, 16)): [1.0]})
    (file,) = cache.rglob("*.json")
    assert Partial(["something"]).taken == {("a", Point(1, 16)): [1.0]}
    for damage in (b"{", b'{"taken": [["a", [1]]], "seconds": 1}', b"[]"):
        file.write_bytes(damage)
        assert Partial(["something"]).taken == {}


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    return etbac.compile(any_length_file(tmp_path / "model.onnx"), tmp_path / "sequences", max_batch=4).path


def test_every_engine_is_measured_at_every_length(sequences):
    measured = profiler.profile(sequences, batch_sizes=[1, 4], lengths=(64, 16, 64), budget_s=0.1)
    points = [Point(1, 16), Point(4, 16), Point(1, 64), Point(4, 64)]
    assert measured.lengths == (16, 64)
    assert measured.points == points
    assert [each.point for each in measured.chain] == 2 * points
    assert all(len(row.timings) == len(row.steady_ms) == 4 for row in (*measured.rows, *measured.pieces))
    with etbac.load(sequences) as chain:
        assert stored.read(chain) == measured


def test_engines_run_at_the_length_that_is_asked_for(sequences, monkeypatch):
    seen = set()

    def full(chain: Chain, inputs: Any) -> None:
        seen.add(inputs["x"].shape)

    monkeypatch.setattr(Chain, "full", full)
    profiler.profile(sequences, batch_sizes=[1, 4], lengths=[3, 20], budget_s=0.1)
    assert seen == {(1, 3, 8), (4, 3, 8), (1, 20, 8), (4, 20, 8)}


def test_the_length_is_the_samples_where_none_is_asked_for(sequences):
    own = EngineDir.open(sequences).read_samples()["x"].shape[1]
    assert profiler.profile(sequences, batch_sizes=[1], budget_s=0.05).lengths == (own,)


def test_lengths_are_refused_where_none_is_dynamic(engines):
    with pytest.raises(UsageError, match=r"^lengths 16, 64 were .* no dimension .* is dynamic .*: x \[batch, 6\]"):
        profiler.profile(engines, lengths=[64, 16])


@pytest.mark.parametrize(("lengths", "found"), [((), "none"), ((4, 0), "0, 4")])
def test_lengths_start_at_one(sequences, lengths, found):
    with pytest.raises(UsageError, match=f"lengths start at 1; found {found}"):
        profiler.profile(sequences, lengths=lengths)


def test_a_profile_is_made_for_a_length_that_was_not_measured(sequences, monkeypatch):
    monkeypatch.setattr(profiler, "SHORT_BUDGET_S", 0.05)
    kept = profiler.profile(sequences, batch_sizes=[1], lengths=[4, 16], budget_s=0.05)
    said: list[str] = []
    with etbac.load(sequences) as chain:
        assert [profiler.find_or_make(chain, said.append, length) for length in (4, 10, 16)] == [kept] * 3
        assert said == []
        for length in (3, 17):
            assert profiler.find_or_make(chain, said.append, length).lengths == (length,)
            assert f"at length {length}" in said[-1]
            assert f"etbac profile --lengths {length} " in said[-1]
        assert len(said) == 2
    with etbac.load(sequences) as chain:
        assert stored.read(chain) == kept


def test_a_measurement_at_other_lengths_does_not_go_on(sequences, monkeypatch):
    monkeypatch.setattr("etbac.profiles.partial.SAVE_EVERY_S", 0.0)

    def stop(done: float) -> None:
        if done > 0:
            raise StoppedError

    for lengths in ([4], [5]):
        said: list[str] = []
        with pytest.raises(StoppedError):
            profiler.profile(
                sequences, batch_sizes=[2], lengths=lengths, budget_s=0.05, progress=stop, note=said.append
            )
        assert said == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6).filter(lambda shares: sum(shares) > 0.01), st.integers(1, 64))
def test_rows_leave_by_their_shares_as_nearly_as_whole_rows_allow(shares, size):
    ids = [*range(1, len(shares)), 0]
    exits = profiler.spread(shares, ids, size)
    counts = np.array([(exits == exit_id).sum() for exit_id in ids])
    assert counts.sum() == size
    assert (np.abs(counts - size * np.array(shares) / sum(shares)) <= 1 + 1e-9).all()
