"""Measuring a chain: its engines, the full model and itself, at every batch size and length, in one interleaved run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from etbac.backends import registry
from etbac.backends.interface import Array, Tensor
from etbac.contract import FULL_MODEL_ID
from etbac.profiles.device import describe, machine_id
from etbac.profiles.partial import Partial
from etbac.profiles.pieces import Piece, pieces
from etbac.profiles.profile import AS_PLANNED, AT_FIRST, EVENLY, ChainTiming, Profile, Row
from etbac.profiles.sizes import Point, check_lengths, check_sizes, points, powers_of_two, where_it_bends
from etbac.profiles.stored import hashes, read, write
from etbac.profiles.timer import Timing, measure, steady
from etbac.runtime.chain import Chain, load
from etbac.runtime.exits import NEVER
from etbac.runtime.inputs import length_of, tile
from etbac.runtime.selection import FP32, portable
from etbac.runtime.trace import Tracer

LARGEST = 32
BUDGET_S = 20.0
SHORT_BUDGET_S = 5.0
TARGET_ERROR = 0.01
ADAPTIVE: Literal["adaptive"] = "adaptive"
FULL, ALSO = "full", "also"

Sizes: TypeAlias = Sequence[int] | Literal["adaptive"]
Progress = Callable[[float], None]
_Key = tuple[str, Point]
"""(what is run, at what): an engine's name, or a way of leaving the chain."""


def profile(
    engine_dir: Path | str,
    *,
    batch_sizes: Sizes | None = None,
    max_batch: int | None = None,
    lengths: Sequence[int] | None = None,
    budget_s: float = BUDGET_S,
    target_error: float = TARGET_ERROR,
    backend: str | None = None,
    dtype: str | None = None,
    trust: bool = False,
    progress: Progress = lambda done: None,
    note: Callable[[str], None] = lambda sentence: None,
) -> Profile:
    """Measure the chain of an engine directory on this machine and keep the profile there.

    `backend`, `dtype`, `trust`: which engines, see `load`; engines in another format than fp32 have the portable fp32
    ones measured beside them. `batch_sizes`: by default 1, 2, 4, … up to `max_batch` (32, or the chain's largest if
    that is less); "adaptive" adds sizes where the latency bends. `lengths`: sizes of the inputs' dynamic dimensions
    besides the batch, each given to all of them; by default those of the directory's samples. Every figure is measured
    until the relative error of its median is at most `target_error`, or `budget_s` seconds are spent. `progress` gets
    the share done. Interrupted, the same call goes on where it was.

    Raises EngineDirError, and UsageError for a size or a length that the chain was not compiled for.
    """
    with load(engine_dir, backend, dtype, trust) as chain, ExitStack() as stack:
        if chain.note:
            note(chain.note)
        last = max_batch or min(LARGEST, chain.manifest.max_batch)
        adaptive = batch_sizes == ADAPTIVE
        given = powers_of_two(last) if batch_sizes is None or batch_sizes == ADAPTIVE else batch_sizes
        beside = None
        if chain.dtype != FP32:
            beside = stack.enter_context(Chain(chain.engine_dir, portable(chain.engine_dir)))
        engines = [chain.sources, chain.device, chain.backend]
        partly = Partial([*engines, adaptive, given, lengths, target_error, chain.plan, machine_id(chain.device)])
        if adaptive and partly.sizes is None:
            partly.sizes = _bending(chain, last, lengths)
        if partly.seconds:
            note(f"an interrupted measurement of {partly.seconds:.0f} s goes on")
        measured = measure_chain(
            chain, partly.sizes or given, budget_s, target_error, progress, beside, partly, lengths=lengths
        )
        write(chain.engine_dir, measured)
        partly.drop()
    return measured


def find_or_make(chain: Chain, note: Callable[[str], None], length: int | None = None) -> Profile:
    """The profile of this chain on this machine; a short one is measured, and said, where there is none.

    `length`: what it is for, where a dimension besides the batch is dynamic. One that was measured at other lengths
    stays in the directory, but the short one is what is given.
    """
    found = read(chain)
    if found is not None and (length is None or found.lengths[0] <= length <= found.lengths[-1]):
        return found
    lengths, at = (None, "") if length is None else ([length], f" at length {length}")
    missing = f"there is no profile of this chain{at} on this machine yet"
    make = "etbac profile" if length is None else f"etbac profile --lengths {length}"
    note(f"{missing}: measuring a short one ({SHORT_BUDGET_S:g} s; {make} makes a better one)")
    sizes = powers_of_two(min(LARGEST, chain.manifest.max_batch))
    measured = measure_chain(chain, sizes, SHORT_BUDGET_S, lengths=lengths)
    if found is None:
        write(chain.engine_dir, measured)
    return measured


def measure_chain(
    chain: Chain,
    batch_sizes: Sequence[int],
    budget_s: float = BUDGET_S,
    target_error: float = TARGET_ERROR,
    progress: Progress = lambda done: None,
    beside: Chain | None = None,
    partly: Partial | None = None,
    apart: bool = True,
    lengths: Sequence[int] | None = None,
    also: Sequence[Callable[[], Any]] = (),
) -> Profile:
    """As `profile`, of a chain that is loaded, with the engines of another `beside`; nothing is written.

    `partly` holds the runs of an interrupted measurement, and gets those of this one. Without `apart` neither heads and
    gathers nor runs one after the other are measured. `also`: what runs in the same rounds, and keeps its own time.
    """
    begun = time.perf_counter()
    sizes, specs = check_sizes(batch_sizes, chain.manifest.max_batch), chain.manifest.inputs
    samples = chain.engine_dir.read_samples()
    own = length_of(specs, samples)
    wanted = None if lengths is None else check_lengths(lengths, specs)
    at_lengths = wanted or (() if own is None else (own,))
    batches = {
        point: tile(specs, samples, point.batch, point.length if wanted else None)
        for point in points(sizes, at_lengths)
    }
    forced = {
        (way, point): spread(shares, chain.ids, point.batch)
        for way, shares in _ways_to_leave(chain).items()
        for point in batches
    }
    before, keep, spent = (partly.taken, partly.keep, partly.seconds) if partly else ({}, _nothing, 0.0)
    with ExitStack() as stack:
        parts = stack.enter_context(pieces(chain)) if apart else []
        engines = _engines(chain, batches, parts)
        calls: dict[_Key, Callable[[], Any]] = {
            **engines.calls,
            **({} if beside is None else _engines(beside, batches).calls),
            **{(FULL, point): partial(chain.full, batch) for point, batch in batches.items()},
            **{(way, point): partial(chain.run, batches[point], exit_at=ids) for (way, point), ids in forced.items()},
        }
        beyond = {(ALSO, Point(place)): call for place, call in enumerate(also)}
        left = max(budget_s - spent, 0.0) or 1e-9
        taken = measure({**calls, **beyond}, left, target_error, progress=progress, before=before, keep=keep)
        chains = set(forced)
        alone = {key: steady(call) for key, call in calls.items() if key not in chains} if apart else {}
    timings = {key: Timing.of(milliseconds) for key, milliseconds in taken.items()}

    def rows(names: Mapping[str, int]) -> tuple[Row, ...]:
        return tuple(
            Row(
                name,
                exit_id,
                tuple(timings[name, point] for point in batches),
                tuple(alone[name, point] for point in batches) if apart else (),
            )
            for name, exit_id in names.items()
        )

    segments, full = hashes(chain)
    measured = Profile(
        backend=chain.backend,
        device=chain.device,
        dtype=chain.dtype,
        segments=segments,
        full=full,
        machine=describe(registry.get(chain.backend).available().version, chain.device),
        batch_sizes=sizes,
        lengths=at_lengths,
        rows=rows({**dict(zip(_names(chain), chain.ids, strict=True)), FULL: FULL_MODEL_ID}),
        beside=() if beside is None else rows(dict(zip(_names(beside), beside.ids, strict=True))),
        pieces=rows(engines.pieces),
        chain=(),
        seconds=spent + time.perf_counter() - begun,
    )
    return replace(
        measured,
        chain=tuple(
            _chain_timing(measured, way, point, _sizes_had(chain, batches[point], ids), timings[way, point])
            for (way, point), ids in forced.items()
        ),
    )


def _nothing(taken: object) -> None:
    """Nothing is kept of a measurement that is not resumed."""


def _bending(chain: Chain, last: int, lengths: Sequence[int] | None) -> tuple[int, ...]:
    """Sizes chosen by a rough look at the whole chain, at the largest length."""
    samples, length = chain.engine_dir.read_samples(), max(lengths or (), default=None)

    def latency(size: int) -> float:
        return steady(partial(chain.run_all, tile(chain.manifest.inputs, samples, size, length)))

    return where_it_bends(latency, last)


def spread(shares: npt.ArrayLike, ids: Sequence[int], size: int) -> npt.NDArray[np.int64]:
    """Where each row of a batch is to leave, so that the stages get their `shares` as nearly as whole rows allow."""
    ends = np.cumsum(np.asarray(shares, np.float64))
    middles = (np.arange(size) + 0.5) / size * ends[-1]
    stage = np.searchsorted(ends, middles, side="right")
    mixed = np.random.default_rng(size).permutation(np.minimum(stage, len(ids) - 1))
    exits: npt.NDArray[np.int64] = np.array(ids, np.int64)[mixed]
    return exits


def _names(chain: Chain) -> list[str]:
    """`segment-00`, …; with the format's name where that is not fp32."""
    suffix = "" if chain.dtype == FP32 else f" {chain.dtype}"
    return [f"segment-{place:02d}{suffix}" for place in range(len(chain.stages))]


@dataclass(frozen=True)
class _Engines:
    """What to run of a chain, by name and point, and the exit ids of its pieces by name."""

    calls: Mapping[_Key, Callable[[], Any]]
    pieces: Mapping[str, int]


def _engines(chain: Chain, batches: Mapping[Point, Mapping[str, Array]], parts: Sequence[Piece] = ()) -> _Engines:
    """Each stage and its pieces on the boundary that the stages before it give, everybody going on."""
    calls: dict[_Key, Callable[[], Any]] = {}
    for point, batch in batches.items():
        carried: Sequence[Tensor] = [batch[name] for name in chain.stages[0].inputs]
        keep = np.arange(point.batch)
        for place, (name, stage) in enumerate(zip(_names(chain), chain.stages, strict=True)):
            calls[name, point] = partial(stage.run, carried, keep, NEVER)
            calls |= {(part.name, point): partial(part.run, carried, keep) for part in parts if part.place == place}
            carried = stage.run(carried, keep, NEVER).boundary
    return _Engines(calls, {part.name: part.exit_id for part in parts})


def _ways_to_leave(chain: Chain) -> dict[str, list[float]]:
    """Shares of rows that leave at each stage: all at the first, as many at each, those of the plan's search set."""
    ways = {AT_FIRST: [1.0] + [0.0] * len(chain.exits), EVENLY: [1.0] * len(chain.ids)}
    if chain.plan is not None and "shares" in chain.plan.search:
        ways[AS_PLANNED] = [chain.plan.search["shares"].get(str(exit_id), 0.0) for exit_id in chain.ids]
    return ways


def _sizes_had(chain: Chain, batch: Mapping[str, Array], exit_at: npt.NDArray[np.int64]) -> tuple[int, ...]:
    trace = Tracer()
    chain.run(batch, exit_at=exit_at, trace=trace)
    rows = {run.stage: run.rows for run in trace.runs}
    return tuple(rows.get(place, 0) for place in range(len(chain.stages)))


def _chain_timing(measured: Profile, way: str, point: Point, sizes: tuple[int, ...], timing: Timing) -> ChainTiming:
    expected = measured.matrix_at(point.length).chain_at(sizes)
    return ChainTiming(way, point.batch, sizes, timing, expected, point.length)
