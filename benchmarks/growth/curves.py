"""One curve for each thing that can grow: exits, batch, depth, concurrent streams."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.zoo.memory import resident_bytes
from benchmarks.zoo.subject import images, with_attached_exits
from etbac.compiler import CompileOptions
from etbac.compiler.compile import compile_model
from etbac.models.blocks import find_blocks
from etbac.models.resnet import cifar_resnet
from etbac.profiles.timer import measure
from etbac.runtime.chain import load
from etbac.runtime.inputs import tile

Point = dict[str, float]
SIDE = 32
DEEP, USUAL = 74, 32
"""Layers: 36 blocks, and 15."""
EXITS = 3
ERROR = 0.01
MILLION = 1e6


def by_exits(counts: Sequence[int], seconds: float) -> list[Point]:
    """Exits spread evenly over the deepest network, nobody leaving."""
    return [compiled(DEEP, count, partial(_costs, seconds=seconds)) | {"x": count} for count in counts]


def by_depth(depths: Sequence[int], seconds: float) -> list[Point]:
    """EXITS exits, nobody leaving; counted in blocks."""
    points = [compiled(depth, EXITS, partial(_costs, seconds=seconds)) for depth in depths]
    return [point | {"x": (depth - 2) // 2} for point, depth in zip(points, depths, strict=True)]


def by_batch(sizes: Sequence[int], seconds: float) -> list[Point]:
    def at_every_size(directory: Path) -> Mapping[int, Point]:
        return latency(directory, sizes, seconds)

    found = compiled(USUAL, EXITS, at_every_size, max_batch=max(sizes))
    return [found[size] | {"x": size} for size in sizes]


def by_streams(counts: Sequence[int], seconds: float) -> list[Point]:
    """Threads that each send one batch after another through the same chain."""

    def with_every_number(directory: Path) -> list[Point]:
        return [throughput(directory, each, seconds) for each in counts]

    points: list[Point] = compiled(USUAL, EXITS, with_every_number)
    return points


def compiled(depth: int, exits: int, use: Callable[[Path], Any], max_batch: int = 16) -> Any:
    """What `use` finds out about the engine directory of a network with so many exits; a mapping gets what making the
    directory has cost."""
    network, inputs = cifar_resnet(depth).eval(), {"image": images(3, SIDE, SIDE)}
    blocks = len(find_blocks(network, inputs))
    at = np.unique(np.linspace(1, blocks - 1, exits).round().astype(int)).tolist()
    subject = with_attached_exits(network, inputs, at=at)
    with TemporaryDirectory() as folder:
        directory = Path(folder, "engines")
        begun = time.perf_counter()
        compile_model(subject.exit_model, directory, CompileOptions(max_batch=max_batch, samples=subject.samples))
        made = {"compile_s": time.perf_counter() - begun, "disk_mb": _bytes(directory) / MILLION}
        found = use(directory)
    return {**found, **made} if isinstance(found, Mapping) else found


def latency(directory: Path, sizes: Sequence[int], seconds: float) -> dict[int, Point]:
    """Medians of the chain with nobody leaving and of the full model, in turn."""
    with load(directory) as chain:
        samples = chain.engine_dir.read_samples()
        batches = {size: tile(chain.manifest.inputs, samples, size) for size in sizes}
        calls: dict[tuple[str, int], Callable[[], Any]] = {}
        calls |= {("chain_ms", size): partial(chain.run, batch, "off") for size, batch in batches.items()}
        calls |= {("full_ms", size): partial(chain.full, batch) for size, batch in batches.items()}
        medians = {key: float(np.median(runs)) for key, runs in measure(calls, seconds, ERROR).items()}
    return {size: {name: medians[name, size] for name in ("chain_ms", "full_ms")} for size in sizes}


def throughput(directory: Path, streams: int, seconds: float, size: int = 4) -> Point:
    """Samples a second, and the 99th percentile of a batch's latency."""
    with load(directory) as chain, ThreadPoolExecutor(streams) as pool:
        batch = tile(chain.manifest.inputs, chain.engine_dir.read_samples(), size)
        chain.run(batch, "off")
        end = time.perf_counter() + seconds

        def stream() -> list[float]:
            taken = [time.perf_counter()]
            while taken[-1] < end:
                chain.run(batch, "off")
                taken.append(time.perf_counter())
            return [after - before for before, after in pairwise(taken)]

        begun = time.perf_counter()
        every = [job.result() for job in [pool.submit(stream) for _ in range(streams)]]
        passed = time.perf_counter() - begun
    runs = np.concatenate(every)
    return {"x": streams, "samples_s": len(runs) * size / passed, "p99_ms": float(np.quantile(runs, 0.99)) * 1e3}


def _costs(directory: Path, seconds: float) -> Point:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        memory = pool.apply(memory_of, (directory,))
    return {**latency(directory, [1], seconds)[1], "memory_mb": memory / MILLION}


def memory_of(directory: Path) -> int:
    """Bytes by which this process grows when the chain is loaded and has answered its largest batch."""
    before = resident_bytes()
    with load(directory) as chain:
        chain.run(tile(chain.manifest.inputs, chain.engine_dir.read_samples(), chain.manifest.max_batch), "off")
        return resident_bytes() - before


def _bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
