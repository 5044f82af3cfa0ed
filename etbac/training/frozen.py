"""What a frozen trunk gives: computed once and kept on disk where there is room, else in every epoch."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from etbac.models.attach import ExitNetwork
from etbac.models.capture import evaluating
from etbac.training.batches import Batch, Place, Rows, read, shares
from etbac.training.losses import Seen

if TYPE_CHECKING:
    from etbac.models.data.loader import Part

LOOK = 128
"""Samples of one forward pass of the frozen trunk."""


@dataclass(frozen=True)
class FrozenTrunk:
    """Runs a network's trunk for its exits. `autocast`: a context in which it runs; `device`: where."""

    network: ExitNetwork
    device: torch.device
    autocast: Callable[[], Any]
    workers: int = 0

    def see(self, batch: Batch) -> Seen:
        """One forward pass without gradients, in evaluation mode."""
        inputs, targets = batch
        placed = {name: value.to(self.device) for name, value in inputs.items()}
        with evaluating(self.network), self.autocast():
            pooled, prediction = self.network.pooled(**placed)
        floats = {exit_id: value.float().contiguous() for exit_id, value in pooled.items()}
        return Seen(floats, prediction.float(), targets.to(self.device))

    def run(self, part: Part, batches: Sequence[Rows]) -> Iterator[Seen]:
        return (self.see(batch) for batch in read(part, batches, self.workers))


class KeptFeatures:
    """What a trunk gives for every sample of a part, in one file for each exit: written once, read at any rows.

    Processes that train together each compute their share; all must see the folder. What an interrupted run has not
    finished is computed anew.
    """

    def __init__(self, folder: Path, n: int) -> None:
        self.folder, self.n = folder, n

    @staticmethod
    def bytes_for(example: Seen, n: int) -> int:
        """What the files would take for n samples, by an example of one."""
        return n * sum(each.element_size() * each[0].numel() for each in _tensors(example).values())

    def begin(self) -> int:
        """Bytes that the files take already; those that an interrupted run has not finished are removed."""
        if not self._done.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            return 0
        return sum(file.stat().st_size for file in self.folder.iterdir())

    def fill(
        self,
        trunk: FrozenTrunk,
        part: Part,
        place: Place,
        meet: Callable[[], None],
        advance: Callable[[int], None],
    ) -> None:
        """Compute and write this process's share, where it is not done; `meet` waits for the other processes."""
        if self._done.exists():
            return
        example = trunk.see(next(read(part, [np.arange(1)])))
        if place.rank == 0:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            self._create(example)
        meet()
        files = self._open("r+")
        batches = shares(self.n, LOOK, place)
        for rows, seen in zip(batches, trunk.run(part, batches), strict=True):
            for name, tensor in _tensors(seen).items():
                files[name][rows] = tensor.cpu().numpy()
            advance(len(rows) * place.world)
        for file in files.values():
            file.flush()
        meet()
        if place.rank == 0:
            self._done.touch()
        meet()

    def batches(self, batches: Sequence[Rows]) -> Iterator[Seen]:
        """What was kept of these rows."""
        files = self._open("r")
        exits = [name for name in files if name.isdigit()]
        for rows in batches:
            taken = {name: torch.from_numpy(np.asarray(file[rows])) for name, file in files.items()}
            yield Seen({int(name): taken[name] for name in exits}, taken["prediction"], taken["targets"])

    @property
    def _done(self) -> Path:
        return self.folder / "done"

    @property
    def _shapes(self) -> Path:
        return self.folder / "shapes.json"

    def _create(self, example: Seen) -> None:
        shapes = {}
        for name, tensor in _tensors(example).items():
            array = tensor.cpu().numpy()
            shapes[name] = [str(array.dtype), [self.n, *array.shape[1:]]]
            with (self.folder / name).open("wb") as file:
                _reserve(file.fileno(), array.itemsize * array[0].size * self.n)
        self._shapes.write_text(json.dumps(shapes))

    def _open(self, mode: Any) -> dict[str, np.memmap[Any, Any]]:
        shapes: Mapping[str, Any] = json.loads(self._shapes.read_text())
        return {
            name: np.memmap(self.folder / name, dtype, mode, shape=tuple(shape))
            for name, (dtype, shape) in shapes.items()
        }


def _reserve(descriptor: int, size: int) -> None:
    """Make a file of that size; an OSError where the disk is full, which a write through memory would be killed by."""
    os.truncate(descriptor, size)
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)


def _tensors(seen: Seen) -> dict[str, Tensor]:
    by_exit = {str(exit_id): value for exit_id, value in seen.pooled.items()}
    return {**by_exit, "prediction": seen.prediction, "targets": seen.targets}
