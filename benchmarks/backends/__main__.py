"""`make bench-backends`: every figure, the measures, the verdict.

What is done is kept in `results/backends.json` until a source file changes. `QUICK=1` measures the demo's network
alone.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.backends import binding, chains, opening, rtx
from benchmarks.backends.subjects import demo
from benchmarks.measures import at_most, verdict
from benchmarks.zoo.catalogue import ENTRIES
from benchmarks.zoo.packages import install_missing
from benchmarks.zoo.store import SOURCES, Store, source_hash

RESULTS = Path("results/backends.json")
STARTED = float(os.environ.get("ETBAC_STARTED", time.time()))
MINUTES = 30.0
console = Console(width=160, highlight=False, markup=False)
Row = dict[str, Any]


def main() -> int:
    quick = os.environ.get("QUICK", "") not in ("", "0")
    install_missing()
    store = Store(RESULTS, source_hash((*SOURCES, Path(__file__).parent)))

    def row(name: str, make: Callable[[], Row]) -> Row:
        done = store.get(name)
        if done is not None:
            console.print(f"{name}: done before, on these sources")
            return done
        console.print(f"… {name}")
        made = make()
        if made["passed"]:
            store.put(name, made)
        return made

    names = ["demo"] if quick else list(chains.CHAINS)
    off = {n: row(f"chain {n}", partial(chains.against_full, *chains.CHAINS[n])) for n in names}
    narrow = {n: row(f"int8 {n}", partial(chains.int8, *chains.INT8[n])) for n in names if n in chains.INT8}
    accuracy = row("int8 accuracy", partial(chains.int8_accuracy, demo))
    bound = row("binding", binding.binding)
    opened = {} if quick else {"opening": row("opening", opening.opening), "memory": row("memory", opening.memory)}
    zoo = [entry.name for entry in ENTRIES if entry.quick or not quick]
    built = {name: row(f"rtx {name}", partial(rtx.zoo_row, name)) for name in zoo}
    second = row("rtx second build", rtx.second_build)

    _print_chains(off, narrow)
    _print_others(accuracy, bound, opened)
    _print_zoo(built)
    found = [measure for name, each in off.items() for measure in chains.measures_of_chain(name, each)]
    if opened:
        found += opening.measures_of_opening(opened["opening"]) + opening.measures_of_memory(opened["memory"])
    found += [measure for name, each in narrow.items() for measure in chains.measures_of_int8(name, each)]
    found += chains.measures_of_accuracy(accuracy) + rtx.measures_of_second(second)
    found.append(at_most("minutes", (time.time() - STARTED) / 60, MINUTES, ".1f"))
    for measure in found:
        console.print(str(measure))
    everything = [*off.values(), *narrow.values(), accuracy, bound, *opened.values(), *built.values(), second]
    for each in everything:
        if not each["passed"]:
            console.print(f"FAILED {each.get('name', '')}: {each.get('note', '')}")
    passed = all(each["passed"] for each in everything)
    console.print(verdict(f"{'QUICK ' if quick else ''}make bench-backends", passed, found))
    return 0 if passed else 1


def _print_chains(off: dict[str, Row], narrow: dict[str, Row]) -> None:
    table = Table("median ms at batch", *map(str, chains.SIZES), title="ONNX Runtime on the CPU, all in one run")
    for name, row in off.items():
        table.add_row(*chains.sizes_row(f"{name}: full model", row["full_ms"]))
        table.add_row(*chains.sizes_row(f"{name}: chain, exits off", row["chain_ms"]))
        table.add_row(*_ratios(f"{name}: chain ÷ full model", row["chain_ms"], row["full_ms"]))
    for name, row in narrow.items():
        table.add_section()
        table.add_row(*chains.sizes_row(f"{name}: chain in fp32", row["fp32_ms"]))
        table.add_row(*chains.sizes_row(f"{name}: chain in int8", row["int8_ms"]))
        table.add_row(*_ratios(f"{name}: fp32 ÷ int8", row["fp32_ms"], row["int8_ms"]))
    console.print(table)
    table = Table("samples leave evenly, at batch", *map(str, chains.SIZES), title="chain ÷ Σ matrix")
    for name, row in off.items():
        evenly = [stage for stage in row["stages"] if stage["exits"] == "evenly"]
        table.add_row(name, *(f"{stage['ratio']:.3f}" for stage in evenly))
        beyond = (1e3 * (stage["chain_ms"] - stage["sum_ms"]) / stage["ran"] for stage in evenly)
        table.add_row(f"{name}: µs a stage", *(f"{each:+.0f}" for each in beyond))
    console.print(table)
    for name, row in off.items():
        console.print(
            f"{name}: {row['rounds']} rounds or more of each; a typical engine's timings spread over "
            f"{row['noise']:.0%}; exits off differ from the full model by {row['difference']:.1e} of its scale"
        )


def _print_others(accuracy: Row, bound: Row, opened: dict[str, Row]) -> None:
    right = ", ".join(f"{name} {share:.4f}" for name, share in accuracy["figures"].items())
    plan = "certified" if accuracy["certified"] else f"not certified ({accuracy['reason']})"
    console.print(f"demo in int8, its own plan {plan}: accuracy {right}; {accuracy['flips']:.2%} decision flips")
    for size in binding.SIZES:
        ratio = bound[f"bound {size}"] / bound[f"arrays {size}"]
        console.print(
            f"I/O binding to buffers used again ÷ arrays, first engine of the demo, batch {size}: {ratio:.3f}"
        )
    if not opened:
        return
    seconds = opened["opening"]
    console.print(
        f"ResNet-50 with 4 exits, opening: full model's session {seconds['full'] * 1e3:.0f} ms, directory "
        f"{seconds['portable'] * 1e3:.0f} ms, directory optimised offline {seconds['offline'] * 1e3:.0f} ms"
    )
    for what, held in opened["memory"].items():
        if what != "passed":
            console.print(
                f"ResNet-50 with 4 exits, memory after batches of {opening.BATCH}, {what}: process "
                f"{held['process'] / 1e6:.0f} MB, of which {held['more'] / 1e6:.0f} MB since before it was opened"
            )


def _print_zoo(rows: dict[str, Row]) -> None:
    table = Table("model", "segments built", "refused", "MB", "seconds", "why not", title="tensorrt-rtx, fp32")
    for name, row in rows.items():
        reasons = "; ".join([*row["refused"], *filter(None, [row["note"]])])
        refused = str(len(row["refused"]))
        table.add_row(name, str(row["built"]), refused, f"{row['megabytes']:.1f}", f"{row['seconds']:.1f}", reasons)
    console.print(table)


def _ratios(name: str, ours: Sequence[float], theirs: Sequence[float]) -> list[str]:
    return chains.sizes_row(name, [float(ratio) for ratio in np.divide(ours, theirs)])


if __name__ == "__main__":
    sys.exit(main())
