"""`make trace`: the demo's chain runs under `etbac run --trace` and its Rebatcher under a short load; docs/trace.png is
drawn from what the two files say, which ui.perfetto.dev and chrome://tracing open too."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import etbac
from benchmarks.load.subject import FOLDER, Subject, the_demos
from etbac.planner.simulate import poisson
from etbac.profiles.rebatch import costs
from etbac.runtime.chain import load
from etbac.runtime.trace import ENGINE, HOST, Tracer

PICTURE = Path("docs/trace.png")
BATCHES, BATCH, SAMPLES, BUSY = 6, 16, 300, 0.4
SHOWN_MS = 6.0
"""How much of each file is drawn."""
COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#a463f2")
HOST_COLOUR = "#9498a0"
Event = dict[str, Any]


def main() -> int:
    subject = the_demos()
    FOLDER.mkdir(parents=True, exist_ok=True)
    files = (FOLDER / "trace-run.json", FOLDER / "trace-rebatch.json")
    run(subject, files[0])
    rebatch(subject, files[1])
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    titles = (f"etbac run --trace: batches of {BATCH}", "etbac.rebatch(…, workers=2, trace=…): samples one at a time")
    for axes, path, title in zip(figure.subplots(2, 1), files, titles, strict=True):
        draw(axes, json.loads(path.read_text())["traceEvents"])
        axes.set_title(title, loc="left", fontsize=10)
    figure.savefig(PICTURE, dpi=110)
    print(f"PASSED make trace: {PICTURE}, drawn from {files[0]} and {files[1]}; missed: 0 of 0 measures")
    return 0


def run(subject: Subject, path: Path) -> None:
    """By the program, as a user does."""
    inputs = FOLDER / "trace-inputs.npz"
    np.savez(inputs, **{name: array[: BATCHES * BATCH] for name, array in subject.inputs.items()})  # type: ignore[arg-type]
    command = ["run", "--engine-dir", str(subject.path), "--input", str(inputs)]
    command += ["--batch-size", str(BATCH), "--trace", str(path)]
    print(f"$ etbac {' '.join(command)}")
    subprocess.run([sys.executable, "-m", "etbac", *command], check=True, stdout=subprocess.DEVNULL)


def rebatch(subject: Subject, path: Path) -> None:
    """Samples one at a time, at most of what the chain can do one by one."""
    tracer = Tracer()
    with load(subject.path) as chain:
        chain.warm()
        alone = costs(chain)[0].seconds[:2, 0].sum()
        arrivals = poisson(BUSY * 2 / alone, SAMPLES)
        with etbac.rebatch(chain, workers=2, trace=tracer) as together:
            begun, asked = tracer.now() / 1e9, []
            for place, second in enumerate(arrivals.tolist()):
                time.sleep(max(0.0, begun + second - tracer.now() / 1e9))
                asked.append(
                    together.submit({name: array[place : place + 1] for name, array in subject.inputs.items()})
                )
            wait(asked)
    tracer.write(path)


def draw(axes: Axes, events: Sequence[Event]) -> None:
    """Engines above, host work below, on a line for each thread."""
    spans = [event for event in events if event.get("cat") in (ENGINE, HOST)]
    engines = [event for event in spans if event["cat"] == ENGINE]
    first = _busiest(np.sort([event["ts"] for event in engines]))
    shown = [event for event in spans if first - 100 <= event["ts"] <= first + SHOWN_MS * 1e3]
    names = {event["tid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    tracks = sorted({event["tid"] for event in shown}, key=lambda track: names[track])
    stages = sorted({(event["args"]["stage"], event["name"]) for event in engines})
    for stage, name in stages:
        axes.barh(0, 0, color=COLOURS[stage % len(COLOURS)], label=name)
    axes.barh(0, 0, color=HOST_COLOUR, label="host")
    for event in shown:
        line, is_engine = tracks.index(event["tid"]), event["cat"] == ENGINE
        left, width = (event["ts"] - first) / 1e3, event["dur"] / 1e3
        colour = COLOURS[event["args"]["stage"] % len(COLOURS)] if is_engine else HOST_COLOUR
        axes.barh(line - 0.12 if is_engine else line + 0.28, width, 0.5 if is_engine else 0.22, left, color=colour)
        if is_engine and width > SHOWN_MS / 60 and left + width < SHOWN_MS:
            axes.text(left + width / 2, line - 0.12, event["args"]["rows"], ha="center", va="center", fontsize=7)
    axes.set_yticks(range(len(tracks)), [names[track] for track in tracks])
    axes.invert_yaxis()
    axes.set_xlim(-0.1, SHOWN_MS)
    axes.set_xlabel("ms; in each run of an engine the rows that it ran")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)


def _busiest(begins: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """From when most engines begin within what is drawn."""
    return float(begins[np.argmax(np.searchsorted(begins, begins + SHOWN_MS * 1e3) - np.arange(len(begins)))])


if __name__ == "__main__":
    sys.exit(main())
