"""One row of the zoo: compile a model, compare the chain with the uncut model, and measure on the way."""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.zoo.catalogue import Builder, Entry
from benchmarks.zoo.dense import EnsembleExits
from benchmarks.zoo.memory import peak_bytes, reset_peak, resident_bytes
from benchmarks.zoo.naive_cut import boundary_bytes, naive_bytes
from benchmarks.zoo.subject import Subject, with_own_exits
from etbac.compiler import CompileOptions, write_chain
from etbac.engine_dir import Writer
from etbac.errors import EtbacError
from etbac.passes.exit_model import ExitModel
from etbac.passes.model_passes import PassOptions, model_passes
from etbac.runtime.chain import Chain
from etbac.verification.chain import TOLERANCE, verify_chain
from etbac.verification.uncut import UncutModel, all_draws

BATCHES = (1, 2, 5, 8)
DRAWS = ("real", "made-up")


@dataclass(frozen=True)
class Row:
    """What one model showed; sizes in bytes per sample at each boundary, times in seconds."""

    name: str
    passed: bool
    note: str = ""
    parameters: int = 0
    exits: tuple[int, ...] = ()
    segments: int = 0
    boundary: tuple[float, ...] = ()
    naive: tuple[float, ...] = ()
    difference: float = 0.0
    compile_seconds: float = 0.0
    processor_seconds: float = 0.0
    """Of the same part, by this process alone: what it takes on a machine that does nothing else."""
    seconds: float = 0.0
    memory: float = 0.0
    """Peak of passes, split and files, less what Python and its packages took before, ÷ the weights."""
    verified_memory: float = 0.0
    """The same for the whole row: the model itself, the uncut model and the chain side by side."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure(entry: Entry) -> Row:
    """Compile the entry's model and compare; an entry that is to be refused passes on the very text."""
    began = time.perf_counter()
    build = entry.load()
    _warm_up()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            row = _compiled(entry.name, build, Path(scratch))
        except EtbacError as error:
            return _refused(entry, str(error), time.perf_counter() - began)
    if entry.refusal is not None:
        return Row(entry.name, False, "compiled, and should have been refused")
    return Row(**{**row, "seconds": time.perf_counter() - began})


def _compiled(name: str, build: Builder, folder: Path) -> dict[str, Any]:
    before = resident_bytes()
    reset_peak()
    subject = build(folder)
    weights = [v.const_value for graph in subject.exit_model.model.graphs() for v in graph.initializers.values()]
    parameters = sum(tensor.size for tensor in weights if tensor is not None)
    weight_bytes = sum(tensor.nbytes for tensor in weights if tensor is not None)

    options = CompileOptions(gate=subject.gate, samples=subject.samples)
    naive = naive_bytes(_passed(subject), options.max_batch)
    specs = subject.exit_model.input_specs()
    with UncutModel(subject.exit_model) as reference, Writer(folder / "engines") as writer:
        draws = all_draws(specs, reference, subject.samples)
        chosen = next(kind for kind in DRAWS if kind in draws)
        samples = subject.samples or draws[chosen](BATCHES[-1])
        built = peak_bytes()
        reference.rest()
        reset_peak()
        began, busy = time.perf_counter(), time.process_time()
        written = write_chain(writer, subject.exit_model, samples, options)
        compile_seconds, processor_seconds = time.perf_counter() - began, time.process_time() - busy
        peak = peak_bytes()
        with Chain(writer.stage(written.manifest)) as chain:
            report = verify_chain(chain, reference, {chosen: draws[chosen]}, BATCHES)

    contracts = [segment.contract for segment in written.segments]
    worst = max(report.checks, key=lambda check: check.difference)
    return {
        "name": name,
        "passed": report.largest <= TOLERANCE,
        "note": "" if report.largest <= TOLERANCE else f"{worst.what}, batch {worst.batch}",
        "parameters": parameters,
        "exits": written.manifest.exits,
        "segments": len(written.segments),
        "boundary": tuple(boundary_bytes(contract, options.max_batch) for contract in contracts[:-1]),
        "naive": tuple(naive),
        "difference": report.largest,
        "compile_seconds": compile_seconds,
        "processor_seconds": processor_seconds,
        "memory": (peak - before) / weight_bytes,
        "verified_memory": (max(built, peak_bytes()) - before) / weight_bytes,
    }


def _warm_up() -> None:
    """Have torch import what it imports on its first export, so that this counts as no model's memory."""
    with_own_exits(EnsembleExits(width=4, depth=2), {"features": torch.zeros(2, 4)})


def _passed(subject: Subject) -> ExitModel:
    return model_passes(subject.exit_model.copy(), PassOptions(gate=subject.gate))


def _refused(entry: Entry, text: str, seconds: float) -> Row:
    passed = entry.refusal is not None and entry.refusal in text
    return Row(entry.name, passed, f"refused: {text}", seconds=seconds)
