"""What `make bench` makes of its figures."""

from __future__ import annotations

import csv
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.bench import page
from benchmarks.bench.contenders import FULL, INT8, MASKED, OURS, OURS_INT8
from benchmarks.bench.judge import differing
from benchmarks.bench.result import Result
from benchmarks.bench.subject import evenly_leaving
from benchmarks.bench.trained import like
from benchmarks.bench.turns import LEAST_ROUNDS, race
from benchmarks.measures import at_most
from etbac.profiles.race import Timings


def figures(ratio: float) -> dict[str, float]:
    return dict.fromkeys(("low", "high", "mean_ms", "median_ms", "p90_ms"), 2 * ratio) | {"ratio": ratio}


def result(**more: Any) -> Result:
    judged = {
        "samples": 100,
        "accuracy": {FULL: 0.9, INT8: 0.8, OURS: 0.91, OURS_INT8: 0.9},
        "differ": {MASKED: 0.0},
        "failed": {},
        "absent": {"best static cut": "none <certified>"},
        "notes": ["etbac: exits 1, certified"],
    }
    raced = {
        size: {
            "batches": 20,
            "figures": {FULL: figures(1.0), INT8: figures(0.4), OURS: figures(0.5), OURS_INT8: figures(ours)},
        }
        for size, ours in ((1, 0.6), (16, 0.3))
    }
    return Result("Net", "pictures", True, judged | more, raced, {16: {"us": 20.0, "allowed_us": 50.0}})


def test_wins_and_losses_of_both_rows_at_every_size() -> None:
    assert result().standings() == [
        "Batch 1: etbac is 2.00 × as fast as the full model, wins against 1 of 2 rivals, loses to full model in int8, "
        "ONNX Runtime (1.25 × as fast, accuracy 0.8000 to 0.9100).",
        "Batch 1: etbac in int8 is 1.67 × as fast as the full model, wins against 1 of 2 rivals, loses to full model "
        "in int8, ONNX Runtime (1.50 × as fast, accuracy 0.8000 to 0.9000).",
        "Batch 16: etbac is 2.00 × as fast as the full model, wins against 1 of 2 rivals, loses to full model in int8, "
        "ONNX Runtime (1.25 × as fast, accuracy 0.8000 to 0.9100).",
        "Batch 16: etbac in int8 is 3.33 × as fast as the full model, wins against 2 of 2 rivals, loses to none.",
    ]


def test_the_place_is_among_rows_that_keep_the_precision() -> None:
    assert [result().place(size) for size in (1, 16)] == [1, 1]
    accurate = {FULL: 0.9, INT8: 0.9, OURS: 0.9, OURS_INT8: 0.9}
    assert [result(accuracy=accurate).place(size) for size in (1, 16)] == [2, 1]
    assert result(accuracy=accurate | {OURS: 0.8, OURS_INT8: 0.8}).place(16) == 0


def test_a_smaller_network_is_trained_as_the_full_one() -> None:
    train = ("--model", "resnet32", "--epochs", "8", "--exits", "1,3")
    assert like(train, 14) == ("--model", "resnet14", "--epochs", "8", "--exits", "none")


def test_a_row_that_failed_and_answers_that_differ_close_the_gates() -> None:
    assert all(gate.met for gate in result().gates())
    assert [gate.met for gate in result(failed={INT8: "broken"}).gates()] == [False, True]
    assert [gate.met for gate in result(differ={MASKED: 0.01}).gates()] == [True, False]


def test_every_form_has_every_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("docs").mkdir()
    results, measures = [result()], [at_most("minutes", 1.0, 2.0)]
    page.write_csv(results, Path("bench.csv"))
    rows = list(csv.DictReader(Path("bench.csv").read_text().splitlines()))
    assert len(rows) == 8
    assert {**rows[2]} | {"contender": OURS, "ratio": "0.5", "mean_ms": "1", "accuracy": "0.91"} == rows[2]
    page.write_html(results, measures, Path("bench.html"))
    html = Path("bench.html").read_text()
    assert "none &lt;certified&gt;" in html
    assert "src=" not in html
    page.write_document(results, measures, 40.0)
    text = page.DOCUMENT.read_text()
    for written in (html, text):
        assert "0.300 [0.600, 0.600], 0.60 (0.60)" in written
        assert "minutes: 1.000" in written
        assert "earlyon 0.3.0" in written
    fastest, *_ = [line for line in text.splitlines() if line.startswith("| etbac")]
    assert fastest.startswith("| etbac in int8 | 0.9000 |")


def test_as_many_samples_leave_at_each_exit_as_go_to_the_end() -> None:
    confidence = np.random.default_rng(0).random((3, 40), np.float32)
    limits = evenly_leaving(confidence, (2, 5, 9))
    waiting, counts = np.ones(40, np.bool_), []
    for place, limit in enumerate(limits.values()):
        leaving = waiting & (confidence[place] >= limit)
        counts.append(leaving.sum())
        waiting &= ~leaving
    assert counts == [10, 10, 10]
    assert not np.isin(np.float32(list(limits.values())), confidence).any()


def test_answers_that_differ_are_counted() -> None:
    ours = np.eye(4, dtype=np.float32)
    other = ours.copy()
    other[1, 0] += 0.01
    other[2, 0] += 1e-5
    assert differing({OURS: ours, MASKED: other, INT8: ours + 1}) == {MASKED: 0.25}


def test_each_contender_answers_the_same_batches() -> None:
    seen: dict[str, list[int]] = {"a": [], "b": []}
    batches = ({"x": np.array([number])} for number, _ in enumerate(repeat(None)))

    def contender(name: str) -> Any:
        return lambda batch: seen[name].append(int(batch["x"][0]))

    raced = race({name: contender(name) for name in seen}, batches, 0.0, "a")
    seen["a"].remove(2)  # the base alone is tried on one more batch
    assert seen["a"] == seen["b"]
    assert len(raced.timings.seconds["a"]) == len(raced.timings.seconds["b"]) == raced.turn * LEAST_ROUNDS


def test_the_interval_holds_the_ratio_and_narrows_with_the_noise() -> None:
    random = np.random.default_rng(0)
    base = random.uniform(1, 2, 400)
    timings = Timings({"base": base, "half": base / 2, "noisy": base / 2 * random.uniform(0.5, 1.5, 400)})
    low, high = timings.ratio_interval("half", "base", 4)
    assert (low, high) == pytest.approx((0.5, 0.5))
    low, high = timings.ratio_interval("noisy", "base", 4)
    assert low < timings.ratio("noisy", "base") < high
    assert low < 0.5 < high
