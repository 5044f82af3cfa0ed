"""Losses as they were, in a CSV file and for TensorBoard."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from etbac.errors import MissingPackageError, UsageError

COLUMNS = ("stage", "epoch", "step", "learning_rate", "loss", "fit_loss", "epoch_s")


class Log:
    """One line for each that is told; `path` and `tensorboard` as of RunOptions, and both may be None."""

    def __init__(self, path: str | None, tensorboard: str | None) -> None:
        self._path = None if path is None else Path(path)
        if self._path is not None and self._path.is_dir():
            raise UsageError(f"--losses {path} is a folder; name a file")
        if self._path is not None and not self._path.absolute().parent.is_dir():
            raise UsageError(
                f"--losses {path}: the folder {self._path.absolute().parent} does not exist; make it first"
            )
        self._board = None if tensorboard is None else _writer(tensorboard)

    def tell(self, stage: str, figures: Mapping[str, float]) -> None:
        """`figures`: by the names of COLUMNS, those that there are."""
        if self._path is not None:
            new = not self._path.exists()
            with self._path.open("a", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS)
                if new:
                    writer.writeheader()
                writer.writerow({"stage": stage, **figures})
        for name in ("loss", "fit_loss"):
            if self._board is not None and name in figures:
                self._board.add_scalar(f"{stage}/{name}", figures[name], int(figures["step"]))

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def _writer(folder: str) -> Any:
    if find_spec("tensorboard") is None:
        raise MissingPackageError("--tensorboard needs the package tensorboard; install it: pip install tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(folder)
