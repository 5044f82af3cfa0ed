"""The file beside an unfinished checkpoint from which the same command goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from etbac.models.checkpoint import write_atomically
from etbac.models.progress import Progress


class Resume:
    """What an unfinished run had reached: the states of its trunk's and its exits' trainer, or None.

    The file is bound to the run's settings by their fingerprint; with other settings the run starts anew.
    """

    def __init__(self, path: Path, fingerprint: str, states: Mapping[str, Any]) -> None:
        self.path, self.fingerprint = path, fingerprint
        self.trunk: Mapping[str, Any] | None = states.get("trunk")
        self.exits: Mapping[str, Any] | None = states.get("exits")

    @staticmethod
    def open(out: Path, settings: Mapping[str, Any], progress: Progress) -> Resume:
        """The state left beside the checkpoint `out`, if it is whole and of the same settings (plain data)."""
        fingerprint = hashlib.sha256(json.dumps(settings, sort_keys=True, default=list).encode()).hexdigest()
        path = out.with_name(f"{out.name}.partial")
        for stray in out.absolute().parent.glob(f".{path.name}.*.tmp"):
            stray.unlink()
        if not path.exists():
            return Resume(path, fingerprint, {})
        try:
            content = torch.load(path, weights_only=True)
            same = content["fingerprint"] == fingerprint
        except Exception:
            same = False
        if not same:
            progress.note(f"{path} is of a run with other settings: starting anew")
            return Resume(path, fingerprint, {})
        progress.note(f"going on from {path}")
        return Resume(path, fingerprint, content)

    def save_trunk(self, state: Mapping[str, Any]) -> None:
        self.trunk = state
        self._write()

    def save_exits(self, state: Mapping[str, Any]) -> None:
        self.exits = state
        self._write()

    def close(self) -> None:
        """The run is finished: the file goes."""
        self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        write_atomically({"fingerprint": self.fingerprint, "trunk": self.trunk, "exits": self.exits}, self.path)
