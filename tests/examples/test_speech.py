from __future__ import annotations

from pathlib import Path

import pytest
from support.examples import run, unless_absent

from benchmarks.results import sounds


@pytest.mark.long
def test_the_example_trains_plans_and_runs_on_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sounds, "LANGUAGES", ("en", "it"))
    with unless_absent():
        sounds.link_prompts(tmp_path / "data")
    prompts = sorted({path.name for path in (tmp_path / "data").rglob("*.wav")})
    for path in (tmp_path / "data").rglob("*.wav"):
        if path.name not in prompts[::12]:
            path.unlink()
    first, *others = run("speech.py", tmp_path, str(tmp_path / "data"), "1")
    assert first.startswith("exits (")
    assert len(others) == 8
    assert all(": left at " in line and line.endswith((", en", ", it")) for line in others)
