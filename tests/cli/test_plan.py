import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support.even_profile import write_even_profile
from support.two_blocks import make_engine_dir, make_inputs

from etbac.cli.main import cli
from etbac.cli.plan import padding_sentence
from etbac.contract import Plan


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    path = make_engine_dir(tmp_path / "engines", metric="agreement").path
    write_even_profile(path)
    return path


def run(engines: Path, rows: int, *arguments: object):
    np.savez(engines.parent / "data.npz", **make_inputs(rows, seed=2))
    fixed = ["plan", "--engine-dir", engines, "--data", engines.parent / "data.npz"]
    return CliRunner().invoke(cli, [*map(str, fixed), *map(str, arguments)])


def test_a_certified_plan_says_what_is_certified_and_what_to_expect(engines):
    done = run(engines, 2_000, "--precision", 0.95)
    assert done.exit_code == 0
    assert "certified: precision ≥ 0.95 at 95% confidence" in done.stdout
    assert "betting test: of 1,000 samples" in done.stdout
    assert "reading 1 of these data" in done.stdout
    for text in ("threshold", "samples leave", "full model ms", "on the search set (1,000 samples)"):
        assert text in done.stdout


def test_the_front_is_shown_when_it_is_asked_for(engines):
    plain, shown = (run(engines, 2_000, "--precision", 0.95, *more).stdout for more in ([], ["--front"]))
    assert "precision on the search set" not in plain
    assert "precision on the search set" in shown


def test_a_latency_that_no_plan_has_is_wrong_usage(engines):
    done = run(engines, 2_000, "--precision", 0.95, "--max-latency", 0.001)
    assert done.exit_code == 2
    assert "no plan is predicted to have such a p99 at batch 8; the lowest is" in done.stderr
    assert not (engines / "plans").exists()


def test_a_latency_is_kept_and_shown(engines):
    done = run(engines, 2_000, "--precision", 0.95, "--max-latency", 24)
    assert "(24.000 ms was allowed)" in done.stdout


def test_where_no_exit_pays_it_is_said(engines, monkeypatch):
    """The full model itself would do: exits that are never sure save nothing."""
    done = run(engines, 4_000, "--precision", 0.9999, "--uncertified")
    assert "the best plan is no exit" in done.stdout


def test_json_holds_the_plan(engines):
    made = json.loads(run(engines, 2_000, "--precision", 0.95, "--json").stdout)
    assert made["certified"]
    assert [str(exit_id) for exit_id in made["exits"]] == list(made["thresholds"])
    assert made["certificate"]["n"] == 1_000
    assert made["certificate"]["test"] == "betting"


def test_the_exact_test_is_asked_for_by_name(engines):
    assert (
        json.loads(run(engines, 2_000, "--precision", 0.95, "--test", "exact", "--json").stdout)["certificate"]["test"]
        == "exact"
    )


def test_too_little_data_is_exit_1_in_one_sentence_and_no_plan(engines):
    done = run(engines, 200)
    assert done.exit_code == 1
    assert "needs 1,180 that are right" in done.stderr
    assert done.stdout == ""
    assert not (engines / "plans").exists()


def test_uncertified_is_exit_0_and_says_so(engines):
    done = run(engines, 200, "--uncertified")
    assert done.exit_code == 0
    assert "not certified: 100 samples" in done.stdout
    assert "certified: precision" not in done.stdout


def test_padding_is_said_where_there_is_some(engines):
    said = "padded, as the larger batch is faster: the last stage 1–5→8"
    assert "padded" not in run(engines, 2_000, "--precision", 0.95).stdout
    write_even_profile(engines, last_ms=(9.0, 8.0))
    assert said in run(engines, 2_000, "--precision", 0.95).stdout
    assert said in CliRunner().invoke(cli, ["inspect", str(engines)]).stdout


def test_padding_is_told_by_stage_in_runs_of_sizes():
    made = Plan((7,), {7: 0.5}, 0.99, False, padding={7: {3: 4, 5: 8, 6: 8, 8: 16}, 0: {1: 2}})
    assert padding_sentence(made) == [
        "padded, as the larger batch is faster: exit 7's stage 3→4, 5–6→8, 8→16; the last stage 1→2"
    ]


def test_a_percentage_is_wrong_usage(engines):
    done = run(engines, 200, "--precision", 99.68)
    assert done.exit_code == 2
    assert "0.9968" in done.stderr
