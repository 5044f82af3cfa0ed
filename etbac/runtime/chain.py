"""The chain: a batch enters, passes engine after engine, and each sample leaves at the first exit that is sure."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from etbac.backends import registry
from etbac.backends.interface import Array, Engine, Runner, Tensor
from etbac.contract import FULL_MODEL_ID
from etbac.engine_dir import EngineDir, unless_rebuilt
from etbac.errors import EtbacError
from etbac.runtime import inputs as checking
from etbac.runtime.answers import Answers, Leaving, by_field
from etbac.runtime.exits import ALWAYS, NEVER, Thresholds, check_forced, resolve
from etbac.runtime.inputs import Batch
from etbac.runtime.results import AllExits, Part, Prediction, Result
from etbac.runtime.selection import Selection, select
from etbac.runtime.stage import Stage
from etbac.runtime.trace import UNTRACED, Tracer, Untraced

NOBODY = np.arange(0)


def load(path: Path | str, backend: str | None = None, dtype: str | None = None, trust: bool = False) -> Chain:
    """Open an engine directory, check its files, and load its engines.

    `backend`, `dtype`: which engines, by default those in force (then the chain's `note` says where the portable
    sources stand in for them). `trust`: use engines that another user built; engines are code. Raises EngineDirError
    for a directory that is missing, incomplete, changed or of another schema version, and EtbacError for engines that
    were asked for and cannot run here.
    """

    def loaded() -> Chain:
        with ExitStack() as stack:
            with EngineDir.opening(Path(path)) as engine_dir:
                chain = stack.enter_context(Chain(engine_dir, select(engine_dir, backend, dtype, trust)))
            stack.pop_all()
        return chain

    return unless_rebuilt(Path(path), loaded)


class Chain:
    """The engines of one directory, ready to run. A context manager; its methods may be called from several threads.

    Inputs are arrays by name: all that the model has, also those that nothing reads. More rows than the directory's
    `max_batch` are run in parts, with the same answers. An InputError names the input that does not fit.

    `stages` are the engines in order and `ids` their exits, 0 last; `backend`, `device` and `dtype` what runs
    them, where and how, as `selection` has it; `sources` the SHA-256 of each segment's source; `note` says where these
    are not the engines in force.
    """

    def __init__(self, engine_dir: EngineDir, selection: Selection | None = None) -> None:
        selection = selection or select(engine_dir)
        self.engine_dir = engine_dir
        self.manifest = engine_dir.manifest
        name = f"{selection.backend}-{selection.device}-{selection.dtype}"
        self.plan = engine_dir.read_plan(name) or engine_dir.plan
        self.backend, self.device, self.dtype = selection.backend, selection.device, selection.dtype
        self.sources = tuple(self.manifest.files[name] for name in selection.sources)
        self.note = selection.note
        self.selection = selection
        self._full: Runner | None = None
        self._closed = False
        self._full_lock = threading.Lock()
        with ExitStack() as stack:
            runners = [stack.enter_context(_load(engine)) for engine in selection.engines]
            self._open = stack.pop_all()
        padding = self._padding()
        self.stages = tuple(
            Stage(contract, runner, padding.get(contract.exit_id, {}))
            for contract, runner in zip(selection.contracts, runners, strict=True)
        )

    @property
    def exits(self) -> tuple[int, ...]:
        """The exits' ids, in the order of the chain."""
        return self.manifest.exits

    @property
    def ids(self) -> tuple[int, ...]:
        """The stages' ids: the exits', then 0 for the full model."""
        return (*self.exits, FULL_MODEL_ID)

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the model's outputs."""
        return self.manifest.fields

    def run(
        self,
        inputs: Mapping[str, Any],
        thresholds: Thresholds = None,
        exit_at: Any = None,
        trace: Tracer | None = None,
    ) -> Result:
        """Answer a batch.

        `thresholds`: one for all exits, numbers by exit id (nobody leaves at the others), "off", or None for the
        plan's (without a plan nobody leaves). `exit_at`: int [rows], the id of the exit where each sample is made to
        leave, whatever the thresholds; 0 is the full model. `trace` is told of the batch and of every run of an engine.
        """
        told = trace or UNTRACED
        began = told.now()
        batch = checking.check(self.manifest.inputs, inputs)
        told.host("check inputs", began)
        answers = Answers(batch.rows, self.ids)
        for leaving in self._all_leaving(batch, thresholds, exit_at, told):
            answers.put(leaving)
        told.batch(began, batch.rows)
        return answers.result(self.fields)

    def stream(self, inputs: Mapping[str, Any], thresholds: Thresholds = None, exit_at: Any = None) -> Iterator[Part]:
        """As `run`, but gives the answers of each exit as soon as it has fired."""
        batch = checking.check(self.manifest.inputs, inputs)
        return (
            Part(left.rows, self._prediction(left.predictions), self.ids[left.place], left.confidence)
            for left in self._all_leaving(batch, thresholds, exit_at, UNTRACED)
        )

    def run_all(self, inputs: Mapping[str, Any]) -> AllExits:
        """Let nobody leave, and give every exit's answer for every sample."""
        batch = checking.check(self.manifest.inputs, inputs)
        parts = [_answer_at_every_exit(self.stages, part) for _, part in self._split(batch)]
        predictions = [np.concatenate(pieces, axis=1) for pieces in zip(*(fields for fields, _ in parts), strict=True)]
        confidence = np.concatenate([confidence for _, confidence in parts], axis=1)
        return AllExits(self.ids, self._prediction(predictions), confidence)

    def full(self, inputs: Mapping[str, Any]) -> Prediction:
        """The full model's answers, from its own engine, which is checked and loaded on first use."""
        batch = checking.check(self.manifest.inputs, inputs)
        names = ("prediction",) if len(self.fields) == 1 else tuple(f"prediction.{field}" for field in self.fields)
        runner = self._full_runner()
        parts = [map(np.asarray, runner.run(part.arrays, names)) for _, part in self._split(batch)]
        return self._prediction([np.concatenate(pieces) for pieces in zip(*parts, strict=True)])

    def warm(self, batch_sizes: Sequence[int] | None = None) -> None:
        """Run every engine at each size (by default all up to the largest) on the directory's samples.

        On a GPU the first batch of a size is slower: memory, algorithms and graphs are then found for its shape.
        """
        samples = checking.check(self.manifest.inputs, self.engine_dir.read_samples())
        for size in batch_sizes or range(1, self.manifest.max_batch + 1):
            self.run_all(checking.tile(self.manifest.inputs, samples.arrays, size))

    def close(self) -> None:
        """Free the engines; runs after this fail with an EtbacError."""
        with self._full_lock:
            self._closed = True
            self._open.close()

    def __enter__(self) -> Chain:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def leaving(
        self,
        batch: Batch,
        thresholds: Sequence[float],
        forced: npt.NDArray[np.int64] | None = None,
        trace: Untraced = UNTRACED,
    ) -> Iterator[Leaving]:
        """Take a checked batch through the chain, in parts where it is too large. `thresholds`: one a stage, the last
        stage's ALWAYS."""
        for start, part in self._split(batch):
            rows, carried = np.arange(start, start + part.rows), [part.arrays[name] for name in self.stages[0].inputs]
            yield from walk(self.stages, 0, rows, carried, np.arange(part.rows), thresholds, forced, self.ids, trace)

    def _all_leaving(self, batch: Batch, thresholds: Thresholds, exit_at: Any, trace: Untraced) -> Iterator[Leaving]:
        at = (*resolve(thresholds, self.exits, self.plan), ALWAYS)
        forced = None if exit_at is None else check_forced(exit_at, self.exits, batch.rows)
        return self.leaving(batch, at, forced, trace)

    def _padding(self) -> dict[int, dict[int, int]]:
        """The plan's, but for batches larger than the engines take."""
        planned = {} if self.plan is None else self.plan.padding
        most = self.manifest.max_batch
        return {
            exit_id: {reach: rows for reach, rows in sizes.items() if reach < rows <= most}
            for exit_id, sizes in planned.items()
        }

    def _split(self, batch: Batch) -> Iterator[tuple[int, Batch]]:
        return checking.split(self.manifest.inputs, batch, self.manifest.max_batch)

    def _prediction(self, fields: Sequence[Array]) -> Prediction:
        return by_field(self.fields, fields)

    def _full_runner(self) -> Runner:
        with self._full_lock:
            if self._closed:
                raise EtbacError(f"the chain of {self.engine_dir.path} was closed; load it again")
            if self._full is None:
                self.engine_dir.check(self.selection.full_file)
                self._full = self._open.enter_context(_load(self.selection.full))
            return self._full


def _load(engine: Engine) -> Runner:
    return registry.get(engine.backend).load(engine)


def walk(
    stages: Sequence[Stage],
    first: int,
    rows: npt.NDArray[np.int64],
    carried: Sequence[Tensor],
    keep: npt.NDArray[np.int64],
    thresholds: Sequence[float],
    forced: npt.NDArray[np.int64] | None,
    ids: Sequence[int],
    trace: Untraced,
) -> Iterator[Leaving]:
    """Take one batch through the stages from the `first` on, giving those that leave at each, in order.

    `rows`: what the samples are called; `keep`: where they are in `carried`, the boundary before that stage.
    """
    for place in range(first, len(stages)):
        stage, size, run, began = stages[place], len(keep), stages[place].padded(keep), trace.now()
        if forced is None and thresholds[place] == NEVER:
            carried, keep = stage.pass_on(carried, run), np.arange(size)
            trace.engine(began, place, ids[place], len(run), rows, NOBODY)
            continue
        answers = stage.run(carried, run, thresholds[place])
        if len(run) > size:
            answers = answers.first(size)
        mask = answers.exit_mask() if forced is None else forced[rows] == ids[place]
        leaving = mask.nonzero()[0]
        trace.engine(began, place, ids[place], len(run), rows, leaving)
        began = trace.now()
        if len(leaving) == size:
            yield Leaving(place, rows, answers.predictions(), answers.confidence())
            trace.host("answers", began)
            return
        if len(leaving):
            predictions = [tensor[leaving] for tensor in answers.predictions()]
            yield Leaving(place, rows[leaving], predictions, answers.confidence()[leaving])
        keep = (~mask).nonzero()[0]
        rows = rows[keep]
        carried = answers.boundary
        trace.host("answers", began)


def _answer_at_every_exit(stages: Sequence[Stage], batch: Batch) -> tuple[list[Array], npt.NDArray[np.float32]]:
    """Each field's answers `[exits, rows, …]` and the confidences `[exits, rows]`."""
    keep = np.arange(batch.rows)
    carried: Sequence[Tensor] = [batch.arrays[name] for name in stages[0].inputs]
    predictions, confidences = [], []
    for stage in stages:
        answers = stage.run(carried, keep, NEVER)
        carried = answers.boundary
        predictions.append(answers.predictions())
        confidences.append(answers.confidence())
    return [np.stack(field) for field in zip(*predictions, strict=True)], np.stack(confidences)
