"""The file beside an unfinished checkpoint from which the same command goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from etbac.models.checkpoint import write_atomically
from etbac.training.progress import Progress


class Resume:
    """What an unfinished run had reached: a state for each of its stages that has begun.

    The file is bound to the run's settings by their fingerprint; with other settings the run starts anew. Of processes
    that train together one writes, and all read.
    """

    def __init__(self, path: Path, fingerprint: str, stages: Mapping[str, Any], writes: bool = True) -> None:
        self.path, self.fingerprint, self.writes = path, fingerprint, writes
        self.stages = dict(stages)

    @staticmethod
    def open(out: Path, settings: Mapping[str, Any], progress: Progress, writes: bool = True) -> Resume:
        """The state left beside the checkpoint `out`, if it is whole and of the same settings (plain data)."""
        fingerprint = hashlib.sha256(json.dumps(settings, sort_keys=True, default=list).encode()).hexdigest()
        path = out.with_name(f"{out.name}.partial")
        if writes:
            for stray in out.absolute().parent.glob(f".{path.name}.*.tmp"):
                stray.unlink()
        if not path.exists():
            return Resume(path, fingerprint, {}, writes)
        try:
            content = torch.load(path, weights_only=True, map_location="cpu")
            same = content["fingerprint"] == fingerprint
        except Exception:
            same = False
        if not same:
            progress.note(f"{path} is of a run with other settings: starting anew")
            return Resume(path, fingerprint, {}, writes)
        progress.note(f"going on from {path}")
        return Resume(path, fingerprint, content["stages"], writes)

    @property
    def folder(self) -> Path:
        return self.path.absolute().parent

    def features(self, name: str) -> Path:
        """Where features of the set `name` may be kept until the run is finished."""
        return self.path.with_name(f"{self.path.name}.features") / f"{name}-{self.fingerprint[:16]}"

    def save(self, stage: str, state: Mapping[str, Any]) -> None:
        self.stages[stage] = state
        if self.writes:
            write_atomically({"fingerprint": self.fingerprint, "stages": self.stages}, self.path)

    def close(self) -> None:
        """The run is finished: what was kept goes."""
        if self.writes:
            self.path.unlink(missing_ok=True)
            shutil.rmtree(self.path.with_name(f"{self.path.name}.features"), ignore_errors=True)
