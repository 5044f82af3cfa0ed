"""`make bench-load`: goodput at a bound on the 99th percentile, and what `etbac simulate` says of the same arrivals.

The network of `make demo` in real time, all contenders in turn at every rate. What is done is kept in
`results/load/rows.json` until a source file changes. `QUICK=1` climbs once, in larger steps.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import etbac
from benchmarks import demo
from benchmarks.load import generator
from benchmarks.load.added import Added, fit, mean_of
from benchmarks.load.at_a_time import simulate_at_a_time
from benchmarks.load.generator import Floats, Played
from benchmarks.load.ladder import P99, STEP, Rung, climb, goodput, p99_of
from benchmarks.load.servers import ROOM, AtATime, Joined, Server
from benchmarks.load.subject import FOLDER, Subject, the_demos
from benchmarks.measures import Measure, at_least, at_most, conclude
from benchmarks.zoo.store import Store, source_hash
from etbac.backends.onnxruntime_backend import THREADS_VARIABLE
from etbac.compiler.compile import CompileOptions, compile_model
from etbac.frontend.load import load_model
from etbac.planner.simulate import bursts, poisson, simulate
from etbac.profiles.profile import Profile
from etbac.profiles.profiler import measure_chain
from etbac.profiles.rebatch import costs_of
from etbac.profiles.sizes import powers_of_two
from etbac.runtime.chain import Chain, load
from etbac.runtime.rebatching import Costs

QUICK = os.environ.get("QUICK", "") not in ("", "0")
STARTED = float(os.environ.get("ETBAC_STARTED", time.time()))
MINUTES = 3.0 if QUICK else 15.0
BOUNDS = (1.5, 2.0, 4.0)
"""Times the full model's latency for one sample."""
RANGE = (0.1, 8.0)
"""Rates, from and to, times what the full model answers one sample at a time."""
ROUNDS, FEWEST, SECONDS = (1, 400, 0.3) if QUICK else (3, 1_000, 1.0)
"""Climbs, and at each rate at least so many samples and about so many seconds."""
PROFILE_S = 4.0 if QUICK else 20.0
AT, WITHIN = 0.9, 2.0
"""The traces: their rate, of the rebatcher's goodput at the largest bound, and the bound that an answer is to keep."""
REBATCHING, STREAMED, AT_ONCE, FULL = (
    "rebatching",
    "a batch at a time, answers as they leave",
    "a batch at a time, answers with their batch",
    "full model, dynamic batching",
)
TRACES = ("poisson", "bursts", "recorded")
REPLAYS, BURST, ASKED = 3, 8, 200 if QUICK else 500
SLOWER = 10.0
"""Times as long as these engines take, for whoever has a larger network: Python's share is then smaller."""
CLIENTS, RECORDED_RATE = 8, 400.0
"""Who asks while arrivals are recorded, and about how often all of them do; replayed faster, at the traces' rate."""
PROFILE = FOLDER / "profile.json"
console = Console(width=150, highlight=False)
Row = dict[str, Any]


class World:
    """Both chains, their costs, and the samples."""

    def __init__(self, stack: ExitStack, subject: Subject, keep: Callable[[str, Callable[[], Row]], Row]) -> None:
        self.subject = subject
        self.chain = stack.enter_context(load(subject.path))
        self.full = stack.enter_context(load(_full_alone()))
        measured = keep("profile", lambda: _measured(self.chain))
        self.profile = Profile.from_json(measured)
        PROFILE.write_text(self.profile.to_json_text())
        self.stages, self.of_full = costs_of(self.profile, self.chain.manifest.max_batch)
        self.one_s = float(self.of_full.seconds[0, 0])
        self.leaves = self.chain.run(subject.inputs).exit
        self.added = {
            name: Added(**keep(f"added: {name}", partial(_added, self, name))) for name in (REBATCHING, STREAMED)
        }

    def rows(self, count: int, seed: int) -> Any:
        return np.random.default_rng([seed, 3]).integers(len(self.leaves), size=count)

    def slower(self) -> World:
        """The same with engines that take `SLOWER` times as long, to simulate."""
        other = copy.copy(self)
        other.stages, other.of_full = (Costs(each.seconds * SLOWER, each.runs) for each in (self.stages, self.of_full))
        other.one_s = SLOWER * self.one_s
        return other

    def play(self, server: Server, arrivals: Floats, seed: int, due_s: float) -> Played:
        return generator.play(server, arrivals, self.subject.inputs, self.rows(len(arrivals), seed), due_s)


def main() -> int:
    os.environ.setdefault(THREADS_VARIABLE, str(max(1, (os.cpu_count() or 2) - 1)))
    sources = [Path(etbac.__file__).parent, Path(__file__).parent]
    store = Store(FOLDER / ("quick.json" if QUICK else "rows.json"), source_hash(sources))

    def keep(name: str, make: Callable[[], Row]) -> Row:
        done = store.get(name)
        if done is None:
            print(f"… {name}", flush=True)
            store.put(name, done := make())
        return done

    subject = the_demos()
    with ExitStack() as stack:
        world = World(stack, subject, keep)
        rungs = [Rung(**each) for n in range(ROUNDS) for each in keep(f"round {n}", partial(_round, world, n))["rungs"]]
        expected = [Rung(**each) for each in keep("predicted", partial(_predicted, world))["rungs"]]
        found, predicted = (_goodput(world, each) for each in (rungs, expected))
        slower = world.slower()
        if_slower = [Rung(**each) for each in keep("predicted, slower", partial(_predicted, slower))["rungs"]]
        lowest = _rates(world)[0]
        rate = AT * max(found[REBATCHING][-1], lowest)
        traces = {name: keep(f"trace {name}", partial(_trace, world, name, rate)) for name in TRACES}
    _print_goodput(world, found, predicted)
    _print_slower(slower, _goodput(slower, if_slower))
    _print_traces(world, traces)
    lost = sum(trace["lost"] for trace in traces.values())
    gates = [Measure("samples that were taken in and not answered", "0", str(lost), lost == 0)]
    name = f"{'QUICK ' if QUICK else ''}make bench-load"
    minutes = at_most("minutes, installation included", (time.time() - STARTED) / 60, MINUTES, ".1f")
    return conclude(name, gates, [*_measures(found, traces, lowest), minutes])


def _goodput(world: World, rungs: Sequence[Rung]) -> dict[str, list[float]]:
    """By row, at each bound; the rebatcher is told the bound, and has a row for each."""
    rows = {row: [row] * len(BOUNDS) for row in (STREAMED, AT_ONCE, FULL)}
    rows |= {REBATCHING: [_told(bound) for bound in BOUNDS]}
    return {
        row: [goodput(rungs, each, bound * world.one_s) for each, bound in zip(names, BOUNDS, strict=True)]
        for row, names in rows.items()
    }


def _told(bound: float) -> str:
    return f"{REBATCHING}, due in {bound:g}"


def _full_alone() -> Path:
    """The full model as a chain of one stage, which the same scheduler runs."""
    path = FOLDER / "full"
    if not path.exists():
        compile_model(load_model(demo.DEMO.checkpoint), path, CompileOptions(exits=()))
    return path


def _measured(chain: Chain) -> Row:
    sizes = powers_of_two(chain.manifest.max_batch)
    return measure_chain(chain, sizes, PROFILE_S, apart=False).to_json()


def _added(world: World, name: str) -> Row:
    """What that contender's Python adds, found from one client that offers samples one by one, or in bursts."""
    due_s, costs = BOUNDS[-1] * world.one_s, Costs(world.stages.seconds)

    def measured(size: int) -> float:
        server = Joined(world.chain, world.stages) if name == REBATCHING else AtATime(world.chain)
        rows = world.rows(ASKED * size, size).reshape(ASKED, size)
        return mean_of(generator.ask_again(server, world.subject.inputs, rows, due_s))

    def simulated(size: int, added: Added) -> float:
        arrivals: Floats = np.repeat(10 * size * world.one_s * np.arange(1, ASKED + 1), size)
        leaves, how = world.leaves[world.rows(ASKED * size, size)], (added.beyond_s, added.by_sample_s)
        if name == REBATCHING:
            latency = simulate(costs, arrivals, leaves, 1, ROOM, due_s, 0, *how).latency_s
        else:
            latency, _ = simulate_at_a_time(costs, arrivals, leaves, *how)
        return mean_of(latency.reshape(ASKED, size))

    return asdict(fit(measured, simulated, BURST))


def _rates(world: World) -> list[float]:
    low, high = (times / world.one_s for times in RANGE)
    step = STEP**2 if QUICK else STEP
    return [float(low * step**power) for power in range(1 + int(np.log(high / low) / np.log(step)))]


def _arrivals(rate: float, seed: int) -> Floats:
    return poisson(rate, max(FEWEST, int(rate * SECONDS)), seed)


def _round(world: World, number: int) -> Row:
    """All contenders in real time."""

    def joined(row: str, chain: Chain, costs: Costs, due_s: float) -> P99:
        def measure(rate: float, seed: int) -> Mapping[str, float]:
            return {row: p99_of(world.play(Joined(chain, costs), _arrivals(rate, seed), seed, due_s).latency_s)}

        return measure

    def at_a_time(rate: float, seed: int) -> Mapping[str, float]:
        ended: list[float] = []
        played = world.play(AtATime(world.chain, ended.append), _arrivals(rate, seed), seed, 0.0)
        at_once = np.full(len(played.arrivals), np.inf)
        at_once[np.isfinite(played.answered)] = np.array(ended) - played.begun
        return {STREAMED: p99_of(played.latency_s), AT_ONCE: p99_of(at_once - played.arrivals)}

    return _climbed(
        world,
        number,
        [joined(_told(bound), world.chain, world.stages, bound * world.one_s) for bound in BOUNDS],
        at_a_time,
        joined(FULL, world.full, world.of_full, BOUNDS[-1] * world.one_s),
    )


def _predicted(world: World) -> Row:
    """The same arrivals and samples as in the first round, by the simulator and the profile."""
    added, of_batches = world.added[REBATCHING], world.added[STREAMED]

    def joined(row: str, costs: Costs, due_s: float, depth: int) -> P99:
        def measure(rate: float, seed: int) -> Mapping[str, float]:
            arrivals = _arrivals(rate, seed)
            leaves = np.minimum(world.leaves[world.rows(len(arrivals), seed)], depth)
            how = 1, ROOM, due_s, seed, added.beyond_s, added.by_sample_s
            return {row: p99_of(simulate(costs, arrivals, leaves, *how).latency_s)}

        return measure

    def at_a_time(rate: float, seed: int) -> Mapping[str, float]:
        arrivals = _arrivals(rate, seed)
        leaves = world.leaves[world.rows(len(arrivals), seed)]
        how = of_batches.beyond_s, of_batches.by_sample_s
        streamed, at_once = simulate_at_a_time(world.stages, arrivals, leaves, *how)
        return {STREAMED: p99_of(streamed), AT_ONCE: p99_of(at_once)}

    last = world.stages.stages - 1
    return _climbed(
        world,
        0,
        [joined(_told(bound), world.stages, bound * world.one_s, last) for bound in BOUNDS],
        at_a_time,
        joined(FULL, world.of_full, BOUNDS[-1] * world.one_s, 0),
    )


def _climbed(world: World, number: int, rebatching: Sequence[P99], at_a_time: P99, full: P99) -> Row:
    bounds = [bound * world.one_s for bound in BOUNDS]
    contenders = [*zip(rebatching, bounds, strict=True), (at_a_time, bounds[-1]), (full, bounds[-1])]
    return {"rungs": [asdict(rung) for rung in climb(contenders, _rates(world), number)]}


def _trace(world: World, name: str, rate: float) -> Row:
    """Arrivals in a file, replayed in real time and by `etbac simulate`; the median replay."""
    path, within_s, added = FOLDER / f"{name}.txt", WITHIN * world.one_s, world.added[REBATCHING]
    generator.write(_arrivals_of(world, name, rate), path)
    arrivals = np.array([float(line) for line in path.read_text().split()])
    played = [world.play(Joined(world.chain, world.stages), arrivals, n, within_s) for n in range(REPLAYS)]
    each = sorted(played, key=lambda one: one.goodput(within_s))[REPLAYS // 2]
    command = ["simulate", "--engine-dir", str(world.subject.path), "--profile", str(PROFILE), "--trace", str(path)]
    command += ["--within", f"{within_s * 1e3:.4f}", "--beyond", f"{added.beyond_s * 1e3:.4f}"]
    command += ["--by-sample", f"{added.by_sample_s * 1e3:.4f}", "--json"]
    console.print(f"$ etbac {' '.join(command)}")
    said = subprocess.run([sys.executable, "-m", "etbac", *command], capture_output=True, text=True, check=True).stdout
    return {
        "offered": len(arrivals) / float(arrivals[-1] - arrivals[0]),
        "measured": each.goodput(within_s),
        "simulated": json.loads(said)["rows"]["chain"]["goodput"],
        "measured_ms": [float(q) * 1e3 for q in np.quantile(each.latency_s, (0.5, 0.99), method="higher")],
        "simulated_ms": [json.loads(said)["rows"]["chain"][key] for key in ("p50_ms", "p99_ms")],
        "lost": sum(one.lost for one in played),
    }


def _arrivals_of(world: World, name: str, rate: float) -> Floats:
    count = max(FEWEST, int(3 * SECONDS * rate))
    if name == "poisson":
        return poisson(rate, count, 7)
    if name == "bursts":
        return bursts(rate, count, BURST, 7)
    each = max(20, count // CLIENTS)
    recorded = generator.record(
        Joined(world.chain, world.stages), world.subject.inputs, CLIENTS, each, CLIENTS / RECORDED_RATE, 7
    )
    faster: Floats = recorded * (len(recorded) / recorded[-1] / rate)
    return faster


def _ratios(found: Mapping[str, Sequence[float]], row: str, lowest: float) -> list[float]:
    """The rebatcher's goodput ÷ another's, by bound; whoever fails at the lowest rate is counted as if it kept that."""
    return [ours / max(theirs, lowest) for ours, theirs in zip(found[REBATCHING], found[row], strict=True)]


def _measures(found: Mapping[str, Sequence[float]], traces: Mapping[str, Row], lowest: float) -> list[Measure]:
    off = max(abs(trace["simulated"] / trace["measured"] - 1) for trace in traces.values())
    return [
        at_least(f"goodput ÷ {STREAMED}, worst bound", min(_ratios(found, STREAMED, lowest)), 1.5, ".2f"),
        at_least(f"goodput ÷ {AT_ONCE}, worst bound", min(_ratios(found, AT_ONCE, lowest)), 1.5, ".2f"),
        at_least(f"goodput ÷ {FULL}, worst bound", min(_ratios(found, FULL, lowest)), 1.74, ".2f"),
        at_most("goodput simulated against measured, worst of three traces", off, 0.10),
    ]


def _print_goodput(
    world: World, found: Mapping[str, Sequence[float]], predicted: Mapping[str, Sequence[float]]
) -> None:
    title = (
        f"samples a second with p99 within 1.5, 2 and 4 times the full model's {world.one_s * 1e3:.3f} ms for one; "
        f"Poisson arrivals, {os.environ[THREADS_VARIABLE]} engine thread(s); beside each what the simulator says"
    )
    table = Table("", *(f"within {bound:g} ×" for bound in BOUNDS), title=title)
    lowest = _rates(world)[0]
    for row, each in found.items():
        pairs = zip(each, predicted[row], strict=True)
        table.add_row(row, *(f"{_rate(ours, lowest)} ({_rate(said, lowest)})" for ours, said in pairs))
    for row in (STREAMED, AT_ONCE, FULL):
        table.add_row(f"rebatching ÷ {row}", *(f"{ratio:.2f}" for ratio in _ratios(found, row, lowest)))
    console.print(table)
    for name, added in world.added.items():
        console.print(
            f"{name}: a sample's way in takes {added.beyond_s * 1e6:,.0f} µs, and each sample keeps an engine for "
            f"{added.by_sample_s * 1e6:,.0f} µs longer: as fits a client that offers samples one by one, and one that "
            f"offers {BURST} at once."
        )
    console.print(
        f"With the best batch always at hand, however late, the chain's engines would answer {_capacity(world):,.0f} a "
        "second: no policy does more."
    )
    console.print(
        f"A rival that fails at the lowest rate, {lowest:,.0f} a second, is counted as if it kept it. E3 publishes "
        "1.74 times the goodput of dynamic batching. What can be compared is the question (requests a second within "
        "a bound on latency) and the rival; not its several GPUs, models, bounds and load: here it is one process on "
        "a CPU."
    )


def _print_slower(world: World, predicted: Mapping[str, Sequence[float]]) -> None:
    title = f"simulated: the same if engines took {SLOWER:g} times as long, {world.one_s * 1e3:.1f} ms for one sample"
    table, lowest = Table("", *(f"within {bound:g} ×" for bound in BOUNDS), title=title), _rates(world)[0]
    for row, each in predicted.items():
        table.add_row(row, *(_rate(rate, lowest) for rate in each))
    for row in (STREAMED, AT_ONCE, FULL):
        table.add_row(f"rebatching ÷ {row}", *(f"{ratio:.2f}" for ratio in _ratios(predicted, row, lowest)))
    console.print(table)


def _capacity(world: World) -> float:
    of_one = (world.stages.seconds / np.arange(1, world.stages.max_batch + 1)).min(axis=1)
    reaching = [float((world.leaves >= stage).mean()) for stage in range(world.stages.stages)]
    return float(1 / (of_one @ reaching))


def _rate(rate: float, lowest: float) -> str:
    return f"{rate:,.0f}" if rate else f"< {lowest:,.0f}"


def _print_traces(world: World, traces: Mapping[str, Row]) -> None:
    columns = ("offered a second", "in time, measured", "simulated", "÷", "p50, p99 ms measured", "simulated")
    table = Table("", *columns, title=f"rebatching, answers wanted within {WITHIN * world.one_s * 1e3:.2f} ms")
    for name, row in traces.items():
        quantiles = [
            ", ".join("–" if each is None or np.isinf(each) else f"{each:.2f}" for each in row[key])
            for key in ("measured_ms", "simulated_ms")
        ]
        figures = [f"{row[key]:,.0f}" for key in ("offered", "measured", "simulated")]
        table.add_row(name, *figures, f"{row['simulated'] / row['measured']:.3f}", *quantiles)
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
