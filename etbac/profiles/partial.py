"""An interrupted measurement, kept beside the user's other caches until it is finished."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from etbac.profiles.sizes import Point

SAVE_EVERY_S = 1.0
Key = tuple[str, Point]
Taken = Mapping[Key, Sequence[float]]


class Partial:
    """The runs of one measurement, which `what` (hashes, sizes, machine) tells from every other one.

    Losing it loses time alone: a file that cannot be read or written is passed over.
    """

    def __init__(self, what: Sequence[object]) -> None:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        name = hashlib.sha256(json.dumps(list(what), default=str).encode()).hexdigest()[:16]
        self._path = Path(cache, "etbac", "profiles", f"{name}.json")
        self._begun = self._saved = time.perf_counter()
        self.taken: dict[Key, list[float]] = {}
        self.seconds = 0.0
        """What earlier runs of this measurement have spent."""
        self.sizes: tuple[int, ...] | None = None
        """The batch sizes, where they were chosen by a first look that would choose others today."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            data = json.loads(self._path.read_text())
            self.taken = {(name, Point(*point)): [float(ms) for ms in runs] for name, point, runs in data["taken"]}
            self.seconds = float(data["seconds"])
            self.sizes = tuple(map(int, data["sizes"])) if data.get("sizes") else None

    def keep(self, taken: Taken) -> None:
        """Save the runs, at most once a second."""
        now = time.perf_counter()
        if now - self._saved < SAVE_EVERY_S:
            return
        self._saved = now
        runs = [[name, point, list(samples)] for (name, point), samples in taken.items()]
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = self._path.with_suffix(f".{os.getpid()}")
            seconds = self.seconds + now - self._begun
            temporary.write_text(json.dumps({"seconds": seconds, "sizes": self.sizes, "taken": runs}))
            os.replace(temporary, self._path)

    def drop(self) -> None:
        """It is finished."""
        with suppress(OSError):
            self._path.unlink()
