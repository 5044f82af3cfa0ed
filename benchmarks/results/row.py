"""What a row of `make results` is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

QUICK = os.environ.get("QUICK", "") not in ("", "0")
FOLDER = Path("results/quick" if QUICK else "results") / "tasks"
"""Where each row has a folder of its own."""


@dataclass(frozen=True)
class Row:
    """`make` fills a folder with data; `train`: what `etbac train` is told besides the data, the output and how long:
    `whole`, or `quick`. `optimize`: what else that command is told. `uncertified`: why the certify set has too few
    independent units, where it has. `short`: why the chain may save less than it should, and what was tried."""

    name: str
    task: str
    about: str
    make: Callable[[Path], object]
    train: Sequence[str]
    whole: Sequence[str]
    quick: Sequence[str] = ("--epochs", "1")
    optimize: Sequence[str] = ()
    uncertified: str | None = None
    short: str | None = None
