"""Measuring a chain: every engine at every batch size, the full model, and the chain itself, in one interleaved run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from etbac.backends import registry
from etbac.backends.interface import Array, Tensor
from etbac.contract import FULL_MODEL_ID, TensorSpec
from etbac.engine_dir import EngineDir, write_profile
from etbac.errors import UsageError
from etbac.profiles.device import describe, same_machine
from etbac.profiles.matrix import Matrix
from etbac.profiles.profile import ChainTiming, Profile, Row
from etbac.profiles.timer import Timing, measure
from etbac.runtime.chain import Chain, load
from etbac.runtime.exits import NEVER
from etbac.runtime.inputs import tile
from etbac.runtime.results import StageRun
from etbac.runtime.selection import FP32, portable

LARGEST = 32
BUDGET_S = 20.0
SHORT_BUDGET_S = 5.0
TARGET_ERROR = 0.01
EVENLY, AS_PLANNED, FULL = "evenly", "as planned", "full"

Progress = Callable[[float], None]
_Key = tuple[str, int]
"""(what is run, batch size): an engine's name, or a way of leaving the chain."""


def profile(
    engine_dir: Path | str,
    *,
    batch_sizes: Sequence[int] | None = None,
    max_batch: int | None = None,
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
    ones measured beside them.

    `batch_sizes`: by default 1, 2, 4, … up to `max_batch` (32, or the chain's largest if that is less). Every figure
    is measured until the relative error of its median is at most `target_error`, or `budget_s` seconds are spent.
    `progress` gets the share done. Raises EngineDirError, and UsageError for a size that the chain was not compiled
    for.
    """
    with load(engine_dir, backend, dtype, trust) as chain, ExitStack() as stack:
        if chain.note:
            note(chain.note)
        sizes = batch_sizes or powers_of_two(max_batch or min(LARGEST, chain.manifest.max_batch))
        beside = None
        if chain.dtype != FP32:
            beside = stack.enter_context(Chain(chain.engine_dir, portable(chain.engine_dir)))
        measured = measure_chain(chain, sizes, budget_s, target_error, progress, beside)
        write(chain.engine_dir, measured)
    return measured


def find_or_make(chain: Chain, note: Callable[[str], None]) -> Profile:
    """The profile of this chain on this machine; a short one is measured, and said, where there is none."""
    found = read(chain)
    if found is not None:
        return found
    note(
        f"there is no profile of this chain on this machine yet: measuring a short one ({SHORT_BUDGET_S:g} s; "
        "etbac profile makes a better one)"
    )
    sizes = powers_of_two(min(LARGEST, chain.manifest.max_batch))
    measured = measure_chain(chain, sizes, SHORT_BUDGET_S)
    write(chain.engine_dir, measured)
    return measured


def read(chain: Chain) -> Profile | None:
    """The profile in the engine directory, if it is of these very engines on a machine like this one."""
    data = chain.engine_dir.read_profile(f"{chain.backend}-{chain.device}-{chain.dtype}")
    if data is None:
        return None
    found = Profile.from_json(data)
    same_engines = (found.segments, found.full) == _hashes(chain)
    return found if same_engines and same_machine(found.machine) else None


def write(engine_dir: EngineDir, measured: Profile) -> None:
    """Keep a profile in the engine directory, as JSON and as CSV."""
    write_profile(engine_dir, measured.name, measured.to_json_text(), measured.to_csv_text())


def measure_chain(
    chain: Chain,
    batch_sizes: Sequence[int],
    budget_s: float = BUDGET_S,
    target_error: float = TARGET_ERROR,
    progress: Progress = lambda done: None,
    beside: Chain | None = None,
) -> Profile:
    """As `profile`, of a chain that is loaded, with the engines of another `beside`; nothing is written."""
    begun = time.perf_counter()
    sizes = _check_sizes(batch_sizes, chain.manifest.max_batch)
    samples = chain.engine_dir.read_samples()
    batches = {size: tile(chain.manifest.inputs, samples, size) for size in sizes}
    forced = {
        (way, size): spread(shares, chain.ids, size) for way, shares in _ways_to_leave(chain).items() for size in sizes
    }
    calls: dict[_Key, Callable[[], Any]] = {
        **_engine_calls(chain, batches),
        **({} if beside is None else _engine_calls(beside, batches)),
        **{(FULL, size): partial(chain.full, batch) for size, batch in batches.items()},
        **{(way, size): partial(chain.run, batches[size], exit_at=ids) for (way, size), ids in forced.items()},
    }
    taken = measure(calls, budget_s, target_error, progress=progress)
    timings = {key: Timing.of(milliseconds) for key, milliseconds in taken.items()}

    def rows(engines: Iterable[tuple[str, int]]) -> tuple[Row, ...]:
        return tuple(Row(name, exit_id, tuple(timings[name, size] for size in sizes)) for name, exit_id in engines)

    segments, full = _hashes(chain)
    measured = Profile(
        backend=chain.backend,
        device=chain.device,
        dtype=chain.dtype,
        segments=segments,
        full=full,
        machine=describe(registry.get(chain.backend).available().version),
        batch_sizes=sizes,
        rows=rows([*zip(_names(chain), chain.ids, strict=True), (FULL, FULL_MODEL_ID)]),
        beside=() if beside is None else rows(zip(_names(beside), beside.ids, strict=True)),
        chain=(),
        seconds=time.perf_counter() - begun,
    )
    return replace(
        measured,
        chain=tuple(
            _chain_timing(measured.matrix, way, _sizes_had(chain, batches[size], ids), timings[way, size])
            for (way, size), ids in forced.items()
        ),
    )


def powers_of_two(last: int) -> tuple[int, ...]:
    """1, 2, 4, … and `last`."""
    return (*(1 << k for k in range(last.bit_length()) if 1 << k < last), last)


def _check_sizes(batch_sizes: Sequence[int], max_batch: int) -> tuple[int, ...]:
    sizes = tuple(sorted(set(batch_sizes)))
    if not sizes or sizes[0] < 1:
        raise UsageError(f"batch sizes start at 1; found {', '.join(map(str, sizes)) or 'none'}")
    if sizes[-1] > max_batch:
        raise UsageError(
            f"batch size {sizes[-1]}: this chain was compiled for batches of up to {max_batch} and splits larger ones. "
            f"Measure up to {max_batch}, or compile it again with --max-batch {sizes[-1]}"
        )
    return sizes


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


def _engine_calls(chain: Chain, batches: Mapping[int, Mapping[str, Array]]) -> dict[_Key, Callable[[], Any]]:
    """Each stage on the boundary that the stages before it give, everybody going on."""
    calls: dict[_Key, Callable[[], Any]] = {}
    for size, batch in batches.items():
        carried: Sequence[Tensor] = [batch[name] for name in chain.stages[0].inputs]
        keep = np.arange(size)
        for name, stage in zip(_names(chain), chain.stages, strict=True):
            calls[name, size] = partial(stage.run, carried, keep, NEVER)
            carried = stage.run(carried, keep, NEVER).boundary
    return calls


def _ways_to_leave(chain: Chain) -> dict[str, list[float]]:
    """Shares of rows that leave at each stage: as many at each, and those of the plan's search set."""
    ways = {EVENLY: [1.0] * len(chain.ids)}
    if chain.plan is not None and "shares" in chain.plan.search:
        ways[AS_PLANNED] = [chain.plan.search["shares"].get(str(exit_id), 0.0) for exit_id in chain.ids]
    return ways


def _sizes_had(chain: Chain, batch: Mapping[str, Array], exit_at: npt.NDArray[np.int64]) -> tuple[int, ...]:
    trace: list[StageRun] = []
    chain.run(batch, exit_at=exit_at, trace=trace)
    rows = {run.stage: run.rows for run in trace}
    return tuple(rows.get(place, 0) for place in range(len(chain.stages)))


def _chain_timing(matrix: Matrix, way: str, sizes: tuple[int, ...], timing: Timing) -> ChainTiming:
    return ChainTiming(way, sizes[0], sizes, timing, matrix.chain_at(sizes))


def _hashes(chain: Chain) -> tuple[tuple[str, ...], str]:
    return chain.sources, chain.manifest.files[chain.manifest.full]
