from __future__ import annotations

import ast
from pathlib import Path

from support.examples import ROOT, run
from support.fashion_mnist import write


def test_the_example_works_from_any_folder(tmp_path: Path) -> None:
    write(tmp_path / "data", train=600, test=40)
    (figures,) = run("own_module.py", tmp_path, str(tmp_path / "data"))
    assert ast.literal_eval(figures)["ratio"] > 0
    assert (tmp_path / "own" / "manifest.json").is_file()


def test_it_is_of_fewer_than_twenty_lines_of_code() -> None:
    source = (ROOT / "examples" / "own_module.py").read_text()
    first, *rest = [line for line in source.splitlines() if line.strip()]
    assert first.startswith('"""')
    assert len(rest) < 20
