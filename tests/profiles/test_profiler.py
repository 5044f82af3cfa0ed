from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.two_blocks import INPUTS, make_engine_dir, make_inputs

import etbac
from etbac.contract import Plan
from etbac.engine_dir import EngineDir, write_plan
from etbac.errors import UsageError
from etbac.profiles import profiler
from etbac.profiles.profile import Profile


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
    assert [(each.exits, each.batch) for each in measured.chain] == [("evenly", size) for size in (1, 2, 4, 8)]
    assert measured.chain[-1].sizes == (8, 5, 3)
    directory = EngineDir.open(engines)
    assert Profile.from_json(directory.read_profile(measured.name)) == measured
    assert directory.find(f"profiles/{measured.name}", ".csv") is not None


def test_the_plans_way_of_leaving_is_measured_too(engines):
    plan = Plan((3, 7), {3: 0.9}, 0.9, False, search={"shares": {"3": 0.75, "7": 0.0, "0": 0.25}})
    write_plan(EngineDir.open(engines), "onnxruntime-cpu-fp32", plan)
    measured = profiler.profile(engines, batch_sizes=[8], budget_s=0.05)
    assert [(each.exits, each.sizes) for each in measured.chain] == [("evenly", (8, 5, 3)), ("as planned", (8, 2, 2))]


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
            profiler.write(chain.engine_dir, other)
            with etbac.load(engines) as again:
                assert profiler.read(again) is None


def test_a_size_that_was_not_compiled_for_is_refused(engines):
    with pytest.raises(UsageError, match=r"batch size 16.*up to 8.*--max-batch 16"):
        profiler.profile(engines, batch_sizes=[1, 16])
    with pytest.raises(UsageError, match="start at 1"):
        profiler.profile(engines, batch_sizes=[0, 2])


def test_sizes_are_powers_of_two_and_the_last():
    assert profiler.powers_of_two(32) == (1, 2, 4, 8, 16, 32)
    assert profiler.powers_of_two(1) == (1,)
    assert profiler.powers_of_two(12) == (1, 2, 4, 8, 12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6).filter(lambda shares: sum(shares) > 0.01), st.integers(1, 64))
def test_rows_leave_by_their_shares_as_nearly_as_whole_rows_allow(shares, size):
    ids = [*range(1, len(shares)), 0]
    exits = profiler.spread(shares, ids, size)
    counts = np.array([(exits == exit_id).sum() for exit_id in ids])
    assert counts.sum() == size
    assert (np.abs(counts - size * np.array(shares) / sum(shares)) <= 1 + 1e-9).all()
