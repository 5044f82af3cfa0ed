"""The two sets that a plan is made from: search (to choose) and certify (to test, once)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from etbac.contract import TensorSpec
from etbac.engine_dir import EngineDir
from etbac.errors import EtbacError, InputError, UsageError
from etbac.runtime.inputs import length_of

Array = npt.NDArray[Any]
LABELS, UNITS = "labels", "units"


@dataclass(frozen=True)
class SampleSet:
    """Inputs as the model takes them, by name, targets, rows on axis 0 (None: there are none), and the classes' names.

    `part_of`: the `sha256` of the set that this one was drawn from at random. `units`, int64 [n]: which samples are of
    one independent unit (a prompt, a patient, a picture and its copies); None: each is its own.
    """

    specs: tuple[TensorSpec, ...]
    inputs: Mapping[str, Array]
    labels: Array | None
    class_names: tuple[str, ...] = ()
    part_of: str | None = None
    units: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        spec = _batched(self.specs)
        return int(self.inputs[spec.name].shape[spec.batch_axis or 0])

    @property
    def length(self) -> int | None:
        """See `length_of`."""
        return length_of(self.specs, self.inputs)

    @property
    def unit_of(self) -> npt.NDArray[np.int64]:
        """[n]: each sample's unit, numbered from 0."""
        return np.arange(len(self)) if self.units is None else np.unique(self.units, return_inverse=True)[1]

    @property
    def independent(self) -> int:
        """How many samples, or units."""
        return int(self.unit_of.max(initial=-1)) + 1

    @property
    def sha256(self) -> str:
        """Hash (hex) over names, dtypes, shapes and bytes."""
        digest = hashlib.sha256()
        named = {**self.inputs} if self.labels is None else {**self.inputs, LABELS: self.labels}
        for name, array in sorted(named.items()):
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    @property
    def counted_as(self) -> str:
        """The hash that readings are counted by: another draw from the same samples is another reading of them."""
        return self.part_of or self.sha256

    def take(self, rows: npt.NDArray[np.intp] | slice) -> SampleSet:
        """Those samples; inputs without a batch go along whole."""
        inputs = {spec.name: _rows(self.inputs[spec.name], spec.batch_axis, rows) for spec in self.specs}
        labels, units = (None if each is None else each[rows] for each in (self.labels, self.units))
        return SampleSet(self.specs, inputs, labels, self.class_names, self.part_of, units)

    def batches(self, size: int) -> Iterator[SampleSet]:
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))


def load_search_and_certify(
    engine_dir: EngineDir, data: Path | None, seed: int, note: Callable[[str], None] = lambda sentence: None
) -> tuple[SampleSet, SampleSet]:
    """From an .npz file, split in halves by `seed`, which is said; otherwise the sets that the checkpoint recorded.

    They are looked for in `data`, then where they were. Raises InputError or UsageError where there are none.
    """
    if data is not None and data.is_file():
        search, certify = split(read_npz(data, engine_dir.manifest.inputs), seed)
        note(f"{data}: {len(search):,} samples to search with, {len(certify):,} to certify with (split by seed {seed})")
        return search, certify
    if data is not None and not data.exists():
        raise InputError(f"--data {data}: there is no such file or folder")
    search, certify = load_recorded(engine_dir, data, ("search", "certify"))
    return search, certify


def load_recorded(engine_dir: EngineDir, folder: Path | None, names: Sequence[str]) -> list[SampleSet]:
    """Sets that the checkpoint recorded, looked for in `folder`, then where they were.

    Raises UsageError, EtbacError or InputError where the checkpoint is not what was compiled, or the data are absent.
    """
    path = _checkpoint(engine_dir)
    from etbac.models import checkpoint as checkpoints

    sets = checkpoints.read_sets(path, names, folder)
    specs = engine_dir.manifest.inputs
    return [SampleSet(specs, each.inputs, each.labels, each.class_names, None, each.units) for each in sets]


def split(samples: SampleSet, seed: int) -> tuple[SampleSet, SampleSet]:
    """Two disjoint halves, drawn by `seed`; samples of one unit stay together."""
    count = samples.independent
    if count < 2:
        what = "sample" if samples.units is None else "unit of samples"
        raise InputError(f"{count} {what} cannot be split into a search and a certify set; give more data")
    order = np.random.default_rng(seed).permutation(count)
    first = np.isin(samples.unit_of, order[: count // 2])
    whole = replace(samples, part_of=samples.sha256)
    return whole.take(np.flatnonzero(first)), whole.take(np.flatnonzero(~first))


def read_npz(path: Path, specs: tuple[TensorSpec, ...]) -> SampleSet:
    """An .npz file with one array for each input of the model, by name, `labels` where the metric needs them, and
    `units` where several samples are of one."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (ValueError, TypeError, EOFError, OSError) as error:
        raise InputError(f"--data {path} cannot be read as an .npz file of plain arrays ({error})") from None
    wanted = [spec.name for spec in specs]
    if missing := [name for name in wanted if name not in arrays]:
        raise InputError(
            f"--data {path} has no array {missing[0]!r}; it holds {', '.join(arrays) or 'nothing'}, and the "
            f"model takes {', '.join(wanted)}"
        )
    units = None if UNITS in wanted else arrays.get(UNITS)
    samples = SampleSet(specs, {name: arrays[name] for name in wanted}, arrays.get(LABELS), units=units)
    if samples.labels is not None and samples.labels.shape[:1] != (len(samples),):
        raise InputError(f"--data {path} has {len(samples)} samples, but labels of shape {list(samples.labels.shape)}")
    if units is not None and units.shape != (len(samples),):
        raise InputError(f"--data {path} has {len(samples)} samples, but units of shape {list(units.shape)}")
    return samples


def _checkpoint(engine_dir: EngineDir) -> Path:
    """The file that was compiled, as it was."""
    source = engine_dir.manifest.source
    if source["kind"] != "checkpoint":
        raise UsageError(
            f"{engine_dir.path} was not compiled from a checkpoint that records its data; give an .npz file of inputs "
            "by name and labels with --data"
        )
    path = Path(source["path"])
    if not path.exists():
        raise UsageError(
            f"the checkpoint {path}, which records the data, is not there any more; put it back, or give an .npz file "
            "of inputs by name and labels with --data"
        )
    if hashlib.sha256(path.read_bytes()).hexdigest() != source["sha256"]:
        raise EtbacError(
            f"{path} has changed since {engine_dir.path} was compiled from it, and may record other sets; "
            f"compile it again: {engine_dir.rebuild}"
        )
    return path


def _batched(specs: tuple[TensorSpec, ...]) -> TensorSpec:
    return next(spec for spec in specs if spec.batch_axis is not None)


def _rows(array: Array, axis: int | None, rows: npt.NDArray[np.intp] | slice) -> Array:
    return array if axis is None else array[(slice(None),) * axis + (rows,)]
