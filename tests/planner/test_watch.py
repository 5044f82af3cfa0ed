from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from support.even_profile import write_even_profile
from support.two_blocks import make_engine_dir, make_inputs, make_weights, reference

import etbac
from etbac.cli.main import cli
from etbac.engine_dir import sealed
from etbac.errors import UsageError
from etbac.planner.plan import plan
from etbac.planner.watch import Watch


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a certified plan."""
    folder = tmp_path_factory.mktemp("watch")
    inputs = make_inputs(4_000, seed=1)
    np.savez(folder / "data.npz", **inputs, labels=reference(make_weights(), inputs).answers[-1].argmax(-1))
    directory = make_engine_dir(folder / "engines")
    write_even_profile(directory.path)
    plan(directory.path, 0.6, data=folder / "data.npz")
    return directory.path


def rows(count: int, seed: int, scale: float = 1.0) -> dict[str, np.ndarray]:
    """Like the certify set's; small ones are hard, large ones easy."""
    inputs = make_inputs(count, seed)
    return {**inputs, "x": (inputs["x"] * scale).astype(np.float32)}


def batches(inputs: dict[str, np.ndarray], size: int = 8):
    for start in range(0, len(inputs["x"]), size):
        part = slice(start, start + size)
        yield {"x": inputs["x"][part], "scale": inputs["scale"], "unread": inputs["unread"][part]}


def test_answers_are_the_chains_own(engines):
    with etbac.load(engines) as chain:
        watch, inputs = Watch(chain, audit=0.5), rows(20, 3)
        result, plain = watch.run(inputs), chain.run(inputs)
        np.testing.assert_array_equal(result.prediction, plain.prediction)
        assert sum(watch.leaving.values()) == watch.monitor.seen == 20


@pytest.mark.parametrize(("scale", "alarm"), [(1.0, False), (0.3, True), (3.0, True)])
def test_an_alarm_is_raised_where_samples_have_changed(engines, scale, alarm):
    with etbac.load(engines) as chain:
        watch = Watch(chain)
        for batch in batches(rows(1_500, 4, scale)):
            watch.run(batch)
    assert watch.monitor.alarm is alarm


def test_the_callback_is_called_once(engines):
    called: list[Watch] = []
    with etbac.load(engines) as chain:
        watch = Watch(chain, on_alarm=called.append)
        for batch in batches(rows(1_500, 4, 0.3)):
            watch.run(batch)
    assert called == [watch]


def test_the_data_are_not_blamed_for_another_chain_than_was_certified(engines, monkeypatch):
    monkeypatch.setenv("ETBAC_EXITS", "off")
    with etbac.load(engines) as chain, pytest.raises(UsageError, match=r"not what was certified.*ETBAC_EXITS=off"):
        Watch(chain)


def test_a_state_is_of_whole_batches(engines, monkeypatch):
    """Asked for by another thread while a batch is being counted."""
    found: list[dict[str, Any]] = []
    with etbac.load(engines) as chain:
        watch = Watch(chain)
        asking = threading.Thread(target=lambda: found.append(watch.state()))
        update = watch.monitor.update

        def slow(*given: np.ndarray) -> bool:
            raised = update(*given)
            asking.start()
            asking.join(0.5)
            return raised

        monkeypatch.setattr(watch.monitor, "update", slow)
        watch.run(rows(20, 3))
        asking.join()
    assert (found[0]["samples"], sum(found[0]["exits"].values())) == (20, 20)


def test_the_callback_may_ask_for_the_state(engines):
    states: list[dict[str, Any]] = []
    with etbac.load(engines) as chain:
        watch = Watch(chain, on_alarm=lambda raised: states.append(raised.state()))
        for batch in batches(rows(1_500, 4, 0.3)):
            watch.run(batch)
    assert [each["alarm"] for each in states] == [True]


def test_exits_that_are_switched_off_later_are_no_change_of_the_samples(engines, monkeypatch):
    with etbac.load(engines) as chain:
        watch = Watch(chain, audit=1.0)
        watch.run(rows(20, 3))
        monkeypatch.setenv("ETBAC_EXITS", "off")
        assert set(watch.run(rows(1_500, 4)).exit_id) == {0}
        assert (watch.monitor.seen, watch.audited.samples, watch.monitor.alarm) == (20, 20, False)


@pytest.mark.parametrize("other", ["dtype", "device", "backend", "segments"])
def test_what_was_certified_with_other_engines_is_not_watched(engines, other):
    with etbac.load(engines) as chain:
        chain.plan.certificate[other] = ["x"] if other == "segments" else "x"
        with pytest.raises(UsageError, match=rf"not what was certified.*certified with other {other}: x, here"):
            Watch(chain)


@pytest.mark.parametrize(("seed", "alike"), [(None, False), (3, True)])
def test_every_watch_audits_samples_of_its_own_unless_it_has_a_seed(engines, seed, alike):
    inputs = rows(400, 5)
    with etbac.load(engines) as chain:
        drawn = [audited_rows(Watch(chain, audit=0.5, seed=seed), inputs) for _ in range(2)]
    assert np.array_equal(*drawn) is alike


def audited_rows(watch: Watch, inputs: dict[str, np.ndarray]) -> np.ndarray:
    given: list[np.ndarray] = []
    full = type(watch.chain).full
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch.chain, "full", lambda rows: given.append(rows["x"]) or full(watch.chain, rows))
        watch.run(inputs)
    return given[0]


@pytest.mark.parametrize("damage", [{"monitor": {}}, {"exits": None}, {"exits": {}}, {"audit": {"samples": 1}}])
def test_a_damaged_state_is_refused(engines, damage):
    with etbac.load(engines) as chain:
        state = json.loads(json.dumps(Watch(chain).state()))
        with pytest.raises(UsageError, match="damaged"):
            Watch(chain).resume({**state, **damage})


def test_the_audit_counts_what_the_full_model_answers_otherwise(engines):
    with etbac.load(engines) as chain:
        watch, inputs = Watch(chain, audit=1.0), rows(400, 5)
        for batch in batches(inputs):
            watch.run(batch)
        chains, full = chain.run(inputs).prediction, chain.full(inputs)
        disagreements = int((np.asarray(chains).argmax(-1) != np.asarray(full).argmax(-1)).sum())
    assert (watch.audited.samples, watch.audited.disagreements) == (400, disagreements)
    assert disagreements / 400 < watch.audited.bound() < 1


def test_a_watch_goes_on_from_its_state(engines):
    with etbac.load(engines) as chain:
        parts = [*batches(rows(600, 6, 0.5))]
        first = Watch(chain, audit=0.2)
        for batch in parts[:40]:
            first.run(batch)
        state = json.loads(json.dumps(first.state()))
        second = Watch(chain, level=0.2)
        second.resume(state)
        assert second.state() == first.state()
        with pytest.raises(UsageError, match="of another plan"):
            second.resume({**state, "plan": "other"})


def test_without_a_certified_plan_there_is_nothing_to_compare_with(tmp_path):
    with etbac.load(make_engine_dir(tmp_path / "engines").path) as chain, pytest.raises(UsageError, match="etbac plan"):
        Watch(chain)


def test_a_reference_of_another_version_is_refused(engines):
    with etbac.load(engines) as chain:
        chain.plan.certificate["reference"].append(0)
        with pytest.raises(UsageError, match="another version of etbac"):
            Watch(chain)


def test_the_command_says_what_it_found_and_goes_on(engines, tmp_path):
    np.savez(tmp_path / "new.npz", **rows(1_000, 7, 0.3))
    np.savez(tmp_path / "old.npz", **rows(1_000, 8))
    common = ["monitor", "--engine-dir", str(engines), "--state", str(tmp_path / "state.json"), "--audit", "0.1"]
    done = CliRunner().invoke(cli, [*common, "--input", str(tmp_path / "old.npz")])
    assert done.exit_code == 0, done.output
    assert "no alarm after 1,000 samples" in done.output
    assert "audit: " in done.output
    done = CliRunner().invoke(cli, [*common, "--input", str(tmp_path / "new.npz"), "--json"])
    found = json.loads(done.stdout)
    assert found["alarm"]
    assert found["samples"] == 2_000
    assert sum(found["exits"].values()) == 2_000


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"{", b"", "not whole JSON"),
        (b'"log_most": ', b'"log_most": 1', "has changed since it was written"),
        (b'"exits"', b'"other"', "has changed since it was written"),
        (b'"sha256"', b'"hash"', "its last field, the hash, is missing"),
    ],
)
def test_a_damaged_state_file_is_named_with_what_to_do_and_left_as_it_is(engines, tmp_path, old, new, said):
    state = tmp_path / "state.json"
    command = ["monitor", "--engine-dir", str(engines), "--state", str(state), "--json"]
    assert CliRunner().invoke(cli, command).exit_code == 0
    damaged = state.read_bytes().replace(old, new, 1)
    state.write_bytes(damaged)
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 2
    assert f"{state} " in done.output
    assert said in done.output
    assert "remove it, or give another file" in done.output
    assert state.read_bytes() == damaged


def test_a_state_of_another_plan_is_named(engines, tmp_path):
    state = tmp_path / "state.json"
    state.write_bytes(sealed.seal({"plan": "other"}))
    done = CliRunner().invoke(cli, ["monitor", "--engine-dir", str(engines), "--state", str(state)])
    assert done.exit_code == 2
    assert f"{state}: this state is of another plan, or none; remove it" in done.output


def test_where_the_state_goes_is_looked_at_before_any_row_is_run(engines, tmp_path, monkeypatch):
    monkeypatch.setattr(Watch, "run", lambda *_: pytest.fail("a row was run"))
    for state, said in [(tmp_path / "nowhere" / "s.json", "there is no folder"), (tmp_path, "is a directory")]:
        done = CliRunner().invoke(cli, ["monitor", "--engine-dir", str(engines), "--state", str(state)])
        assert done.exit_code == 2
        assert said in done.output
