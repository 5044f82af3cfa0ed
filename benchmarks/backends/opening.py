"""Opening a directory against opening the full model's session, and the memory that both hold."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.backends.subjects import resnet50, resnet50_offline
from benchmarks.measures import Measure, at_most
from benchmarks.zoo.memory import resident_bytes
from etbac.backends import registry
from etbac.backends.interface import Engine
from etbac.engine_dir import EngineDir
from etbac.runtime.chain import Chain, load
from etbac.runtime.inputs import tile

EXITS = (3, 7, 10, 13)
ROUNDS, BATCH = 15, 16
Row = dict[str, Any]


def opening() -> Row:
    """Median seconds, in turn: the full model's session; the directory's portable sources; those optimised offline."""
    plain = resnet50(EXITS)
    offline = resnet50_offline(EXITS)
    ways: dict[str, Callable[[], Any]] = {
        "full": lambda: _full(plain),
        "portable": lambda: load(plain.path),
        "offline": lambda: load(offline.path),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    rng = np.random.default_rng(0)
    for _ in range(ROUNDS):
        for place in rng.permutation(len(ways)):
            name = list(ways)[place]
            begun = time.perf_counter()
            opened = ways[name]()
            seconds[name].append(time.perf_counter() - begun)
            opened.close()
            gc.collect()
    return {"passed": True, **{name: float(np.median(taken)) for name, taken in seconds.items()}}


def memory() -> Row:
    """Bytes that a process holds more once it has run batches of 16, each in a process of its own."""
    path = resnet50(EXITS).path
    found = {}
    for what in ("full", "chain"):
        command = [sys.executable, "-m", "benchmarks.backends.opening", what, str(path)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        found[what] = json.loads(ran.stdout)
    return {"passed": True, **found}


def measures_of_opening(row: Row) -> list[Measure]:
    return [
        at_most("ResNet-50, 4 exits: opening ÷ the full model's session", row["portable"] / row["full"], 1.3, ".2f"),
        at_most("ResNet-50, 4 exits: the same, optimised offline", row["offline"] / row["full"], 1.3, ".2f"),
    ]


def measures_of_memory(row: Row) -> list[Measure]:
    ratio = row["chain"]["process"] / row["full"]["process"]
    return [at_most("ResNet-50, 4 exits: memory of the process ÷ the full model's", ratio, 1.15, ".2f")]


def _full(directory: EngineDir) -> Any:
    path = directory.path / directory.manifest.full
    return registry.get(registry.DEFAULT).load(Engine(registry.DEFAULT, "cpu", "fp32", path))


def _hold(what: str, path: str) -> dict[str, int]:
    directory = EngineDir.open(path)
    batch = tile(directory.manifest.inputs, directory.read_samples(), BATCH)
    gc.collect()
    before = resident_bytes()
    if what == "full":
        runner = _full(directory)
        for _ in range(3):
            runner.run(batch, ("prediction",))
    else:
        chain = Chain(directory)
        for _ in range(3):
            chain.run(batch, thresholds="off")
    held = resident_bytes()
    return {"process": held, "more": held - before}


if __name__ == "__main__":
    print(json.dumps(_hold(sys.argv[1], sys.argv[2])))
