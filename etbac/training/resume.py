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

TRUNK = "trunk"
"""The stage that does not depend on what is asked of exits."""


class Resume:
    """What an unfinished run had reached: a state for each of its stages that has begun.

    The file is bound to the run's settings by their fingerprint; with other settings the run starts anew, but for the
    trunk, where all that it depends on is the same. Of processes that train together one writes, and all read.
    """

    def __init__(
        self, path: Path, fingerprint: str, stages: Mapping[str, Any], writes: bool = True, of_trunk: str = ""
    ) -> None:
        self.path, self.fingerprint, self.writes, self.of_trunk = path, fingerprint, writes, of_trunk
        self.stages = dict(stages)

    @staticmethod
    def open(
        out: Path, trunk: Mapping[str, Any], others: Mapping[str, Any], progress: Progress, writes: bool = True
    ) -> Resume:
        """The state left beside the checkpoint `out`, if it is whole and of the same settings (plain data): those that
        the trunk depends on, and others."""
        fingerprint, of_trunk = _digest([trunk, others]), _digest(trunk)
        path = out.with_name(f"{out.name}.partial")
        if writes:
            for stray in out.absolute().parent.glob(f".{path.name}.*.tmp"):
                stray.unlink()
        stages: Mapping[str, Any] = {}
        if path.exists():
            stages, told = _found(path, fingerprint, of_trunk)
            progress.note(told)
        return Resume(path, fingerprint, stages, writes, of_trunk)

    @property
    def folder(self) -> Path:
        return self.path.absolute().parent

    def features(self, name: str) -> Path:
        """Where features of the set `name` may be kept until the run is finished."""
        return self.path.with_name(f"{self.path.name}.features") / f"{name}-{self.fingerprint[:16]}"

    def save(self, stage: str, state: Mapping[str, Any]) -> None:
        self.stages[stage] = state
        if self.writes:
            content = {"fingerprint": self.fingerprint, "of_trunk": self.of_trunk, "stages": self.stages}
            write_atomically(content, self.path)

    def close(self) -> None:
        """The run is finished: what was kept goes."""
        if self.writes:
            self.path.unlink(missing_ok=True)
            shutil.rmtree(self.path.with_name(f"{self.path.name}.features"), ignore_errors=True)


def _digest(settings: Any) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=list).encode()).hexdigest()


def _found(path: Path, fingerprint: str, of_trunk: str) -> tuple[Mapping[str, Any], str]:
    """Those of a file's stages that can be gone on with, and what is said of that."""
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        stages: Mapping[str, Any] = content["stages"]
        same, same_trunk = content["fingerprint"] == fingerprint, content["of_trunk"] == of_trunk
    except Exception:
        return {}, f"{path} is damaged, or of another version: starting anew"
    if same:
        return stages, f"going on from {path}"
    if same_trunk and TRUNK in stages:
        return {TRUNK: stages[TRUNK]}, f"{path} is of a run with other exits: going on with its trunk"
    return {}, f"{path} is of a run with other settings: starting anew"
