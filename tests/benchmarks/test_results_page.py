from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.results import page
from benchmarks.results.cost import Cost
from benchmarks.results.row import Row


def row(name: str, **more: str) -> Row:
    return Row(name, "text", f"about {name}", lambda folder: None, (), (), **more)


def result(ratio: float, certified: bool = True) -> dict:
    return {
        "train": ["etbac", "train", "text", "--head-options", "{}"],
        "optimize": ["etbac", "optimize", str(Path.cwd() / "model.pt")],
        "plan": {"certified": certified, "reason": "mIoU: asymptotic"},
        "minutes": [1.0, 2.0],
        "ratio": ratio,
        "cut_ratio": None,
        "p90_ratio": 1.0,
        "p99_ratio": 1.0,
        "metric": "accuracy",
        "full": 0.9,
        "chain": 0.9,
        "precision": 1.0,
        "shares": "3 90%, end 10%",
    }


def test_the_page_has_every_row_and_says_why_one_falls_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("docs").mkdir()
    rows = [row("fast"), row("slow", short="it is early. Tried: nothing"), row("dull", uncertified="few units")]
    results = [result(0.3), result(0.7), result(0.9, certified=False)]
    page.write(rows, results, Cost(1.0, 1.9, 1e-4), 3.0)
    text = page.PAGE.read_text()
    assert "| fast | about fast | 3 90%, end 10% | 0.300 |" in text
    assert "- slow saves less than 40%: it is early. Tried: nothing." in text
    assert "- dull saves less than 40%: nobody knows why yet." in text
    assert "fast saves less" not in text
    assert "no: few units" in text
    assert "etbac train text --head-options '{}'\netbac optimize model.pt" in text
