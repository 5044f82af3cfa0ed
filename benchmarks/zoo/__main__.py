"""`make zoo`: every model compiled, each in a process of its own; one row a model, the measures, the verdict.

`QUICK=1` runs a few small ones. Rows that are done are kept in `results/zoo.json` until a source file changes; names
given as arguments run those rows alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.measures import verdict
from benchmarks.zoo.catalogue import BY_NAME, ENTRIES, Entry
from benchmarks.zoo.packages import install_missing
from benchmarks.zoo.store import Store, source_hash
from benchmarks.zoo.table import table
from benchmarks.zoo.targets import measures

RESULTS = Path("results/zoo.json")
LIMIT_SECONDS = 900
STARTED = float(os.environ.get("ETBAC_STARTED", time.time()))

console = Console(width=190, highlight=False)


def main(names: Sequence[str]) -> int:
    """Run the rows that are not done, print all, and return the exit status: 1 where a row failed."""
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        console.print(f"there is no row {unknown[0]!r}; there are {', '.join(BY_NAME)}")
        return 2
    quick = os.environ.get("QUICK", "") not in ("", "0")
    entries = [BY_NAME[name] for name in names] or [entry for entry in ENTRIES if entry.quick or not quick]
    install_missing()
    store = Store(RESULTS, source_hash())
    rows = [_row(entry, store) for entry in entries]

    console.print(table(rows))
    for row in rows:
        if row["note"]:
            console.print(f"{row['name']}: {row['note']}")
    found = measures(rows, (time.time() - STARTED) / 60, quick)
    for measure in found:
        console.print(str(measure))
    passed = all(row["passed"] for row in rows)
    console.print(verdict(f"{'QUICK ' if quick else ''}make zoo", passed, found))
    return 0 if passed else 1


def _row(entry: Entry, store: Store) -> dict[str, Any]:
    done = store.get(entry.name)
    if done is not None:
        console.print(f"{entry.name}: done before, on these sources; {RESULTS} has it")
        return done
    console.print(f"… {entry.name}")
    row = _measured(entry.name)
    if row["passed"]:
        store.put(entry.name, row)
    return row


def _measured(name: str) -> dict[str, Any]:
    """The row from a child process; a failed one where the child died."""
    command = [sys.executable, "-m", "benchmarks.zoo.child", name]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return {"name": name, "passed": False, "note": f"not done after {LIMIT_SECONDS} s"}
    if child.returncode:
        lines = child.stderr.strip().splitlines()
        reason = lines[-1] if lines else "no message"
        return {"name": name, "passed": False, "note": f"its process ended with {child.returncode}: {reason}"}
    row: dict[str, Any] = json.loads(child.stdout.strip().splitlines()[-1])
    return row


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
