"""docs/data.md says what there is."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from etbac.models.data import loader as loaders

DOCUMENT = (Path(__file__).parents[3] / "docs" / "data.md").read_text()


def test_every_loader_and_option_is_described() -> None:
    made: dict[str, Any] = {name: loaders.get(name) for name in loaders.names()}
    listed = re.findall(r"^\| `([\w-]+)` \| (\w+) \| [^|]+ \| [^|]+ \|", DOCUMENT, re.MULTILINE)
    assert dict(listed) == {name: loader.task for name, loader in made.items()}
    options = re.findall(r"^\| `([\w-]+)` \| `(\w+)` \|", DOCUMENT, re.MULTILINE)
    assert set(options) == {(name, field.name) for name, loader in made.items() for field in fields(loader)}
