"""Finished work, kept between runs: by name and the hash of everything that it depends on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import benchmarks
import etbac

SOURCES = (Path(etbac.__file__).parent, Path(benchmarks.__path__[0], "zoo"))
"""The product and the zoo."""


def source_hash(folders: Sequence[Path] = SOURCES) -> str:
    """SHA-256 of the Python files in these folders."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
            digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


class Store:
    """Rows in a JSON file: {name: {"source": hash, "row": row}}; written anew, whole, after every row."""

    def __init__(self, path: Path, source: str) -> None:
        self._path, self._source = path, source
        self._entries: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}

    def get(self, name: str) -> dict[str, Any] | None:
        """The row of that name, if it was made from the same sources."""
        entry = self._entries.get(name)
        row: dict[str, Any] | None = entry["row"] if entry and entry["source"] == self._source else None
        return row

    def put(self, name: str, row: dict[str, Any]) -> None:
        self._entries[name] = {"source": self._source, "row": row}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self._entries, indent=1))
        os.replace(partial, self._path)
