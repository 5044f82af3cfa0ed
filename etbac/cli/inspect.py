"""`etbac inspect`: what an engine directory, a checkpoint or an ONNX file holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from etbac.cli.common import Output, standard
from etbac.cli.plan import padding_sentence
from etbac.contract import FULL_MODEL_ID, Manifest, Plan, TensorSpec
from etbac.engine_dir import EngineDir, EngineSet, clear_leftovers
from etbac.errors import UsageError
from etbac.runtime.inputs import check
from etbac.runtime.sources import TAKEN

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


@dataclass(frozen=True)
class Contents:
    """What was found: the JSON payload, and the same for people."""

    payload: dict[str, Any]
    texts: tuple[RenderableType, ...]


@click.command("inspect", epilog="Example: etbac inspect engines")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--exit", "exit_outputs", multiple=True, metavar="ID=OUTPUT", help="An ONNX file's output that is an exit."
)
@click.option("--factory", help="module:function that makes the model of a checkpoint, if you trust that code.")
@standard
def cli(path: Path, exit_outputs: tuple[str, ...], factory: str | None, output: Output) -> None:
    """Say what an engine directory, a checkpoint (.pt) or an ONNX file (.onnx) at PATH holds."""
    contents = _of_directory(path) if path.is_dir() else _of_file(path, exit_outputs, factory)
    output.result(contents.payload, *contents.texts)


def _of_directory(path: Path) -> Contents:
    engine_dir = EngineDir.open(path)
    clear_leftovers(engine_dir)
    for name in engine_dir.manifest.files:
        engine_dir.check(name)
    manifest = engine_dir.manifest
    samples = check(manifest.inputs, engine_dir.read_samples())
    segments: list[dict[str, Any]] = [
        {
            "file": entry.file,
            "exit_id": entry.contract.exit_id,
            "gate": dict(entry.contract.gate),
            "boundary": [spec.to_json() for spec in entry.contract.boundary],
            "boundary_bytes": bytes_per_sample(entry.contract.boundary),
        }
        for entry in manifest.segments
    ]
    payload: dict[str, Any] = {
        "kind": "engine directory",
        "path": str(path),
        "source": dict(manifest.source),
        "task": manifest.task,
        "metric": manifest.metric,
        "inputs": [spec.to_json() for spec in manifest.inputs],
        "outputs": list(manifest.fields),
        "max_batch": manifest.max_batch,
        "exits": list(manifest.exits),
        "segments": segments,
        "engines": [_engine_set(engine_dir, name, engines) for name, engines in engine_dir.engine_sets().items()],
        "plan": None if engine_dir.plan is None else engine_dir.plan.to_json(),
        "samples": {"file": manifest.samples, "kind": manifest.samples_kind, "rows": samples.rows},
        "preprocessing": _short(manifest.preprocessing),
        "readings": engine_dir.readings(),
        "files": {name: (path / name).stat().st_size for name in manifest.files},
    }
    lines = (
        f"{path}: engine directory, compiled from {manifest.source.get('path', 'a module in memory')}",
        f"task {manifest.task}, metric {manifest.metric}, batches up to {manifest.max_batch}",
        _inputs_line(manifest.inputs),
        f"samples: {samples.rows} {manifest.samples_kind} rows; run takes {_takes(manifest)}",
        _plan_line(engine_dir.plan),
        *(padding_sentence(engine_dir.plan) if engine_dir.plan else ()),
    )
    segment_rows = (
        (each["file"], _exit_name(each["exit_id"]), each["gate"].get("name", "–"), each["boundary_bytes"])
        for each in segments
    )
    segment_table = _table(("segment", "exit", "gate", "boundary, bytes a sample"), segment_rows)
    file_table = _table(("file", "bytes"), payload["files"].items())
    return Contents(payload, ("\n".join(lines), segment_table, *_set_tables(payload["engines"]), file_table))


def _takes(manifest: Manifest) -> str:
    kind = manifest.preprocessing.get("kind")
    return f"arrays, or {TAKEN[kind]}" if kind in TAKEN else "arrays"


def _short(preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    """A tokenizer's content by its hash: it has as many characters as its vocabulary."""
    found = dict(preprocessing)
    if "tokenizer" in found:
        found["tokenizer"] = {"sha256": hashlib.sha256(found["tokenizer"].encode()).hexdigest()}
    return found


def _engine_set(engine_dir: EngineDir, name: str, engines: EngineSet) -> dict[str, Any]:
    built = [
        {
            "file": entry.engine,
            "backend": entry.backend,
            "format": entry.format,
            "bytes": (engine_dir.path / entry.engine).stat().st_size,
            "made_for": dict(entry.made_for),
        }
        for entry in engines.entries()
    ]
    return {
        "folder": engines.folder,
        "backend": engines.backend,
        "device": engines.device,
        "dtype": engines.dtype,
        "in_force": name == engine_dir.manifest.engines,
        "is_code": engines.is_code,
        "built_here": engines.is_built_here(),
        "segments": built[:-1],
        "full": built[-1],
        "bytes": sum((engine_dir.path / file).stat().st_size for file in engines.files),
    }


def _set_tables(sets: list[dict[str, Any]]) -> tuple[Table, ...]:
    if not sets:
        return ()
    columns = ("engines", "in force", "segments", "bytes", "built here")
    here = {True: "yes", False: "no: used with --trust alone"}
    rows = (
        (
            each["folder"],
            "yes" if each["in_force"] else "",
            ", ".join(f"{one['backend']} {one['format']}" for one in each["segments"]),
            each["bytes"],
            here[each["built_here"]] if each["is_code"] else "sources, no code",
        )
        for each in sets
    )
    return (_table(columns, rows),)


def _of_file(path: Path, exit_outputs: tuple[str, ...], factory: str | None) -> Contents:
    from etbac.frontend import Kind, kind_of

    kind = kind_of(path)
    if kind is Kind.CHECKPOINT:
        return _of_checkpoint(path, factory)
    if kind is Kind.ONNX:
        return _of_onnx(path, exit_outputs)
    raise UsageError(f"{path}: give an engine directory, a checkpoint (.pt) or an ONNX file (.onnx)")


def _of_checkpoint(path: Path, factory: str | None) -> Contents:
    from etbac.models import checkpoint

    found = checkpoint.load(path, factory)
    network = found.network
    exits = [{"exit_id": spec.id, "module": spec.module, "head": spec.head} for spec in network.exits]
    payload = {
        "kind": "checkpoint",
        "path": str(path),
        "factory": found.factory,
        "kwargs": dict(found.kwargs),
        "task": network.task,
        "metric": found.metric,
        "parameters": sum(parameter.numel() for parameter in network.trunk.parameters()),
        "inputs": [spec.to_json() for spec in network.inputs],
        "exits": exits,
        "data": None if found.data is None else {"loader": found.data.loader, "folder": str(found.data.folder)},
        "full_sha256": found.full_sha256,
        "record": dict(found.record),
    }
    lines = (
        f"{path}: checkpoint of {found.factory} {dict(found.kwargs)}, {payload['parameters']:,} parameters",
        f"task {network.task}, metric {found.metric}",
        _inputs_line(network.inputs),
    )
    return Contents(
        payload, ("\n".join(lines), _table(("exit", "module", "head"), (entry.values() for entry in exits)))
    )


def _of_onnx(path: Path, exit_outputs: tuple[str, ...]) -> Contents:
    from etbac.frontend import LoadOptions, load_model

    found = load_model(path, LoadOptions(exits=exit_outputs))
    inputs = [
        {
            "name": value.name,
            "dtype": "?" if value.dtype is None else value.dtype.name.lower(),
            "shape": None
            if value.shape is None
            else [size if isinstance(size, int) else str(size) for size in value.shape],
            "batch_axis": found.batch_axes.get(value.name or ""),
        }
        for value in found.model.graph.inputs
    ]
    exits = [{"exit_id": exit_id, "outputs": dict(fields)} for exit_id, fields in found.exits.items()]
    payload = {"kind": "onnx", "path": str(path), "inputs": inputs, "exits": exits, "full": dict(found.full)}
    lines = [f"{path}: ONNX model with {len(exits)} exit{'' if len(exits) == 1 else 's'}"]
    lines += [
        f"input {each['name']}: {each['dtype']} {each['shape']}, batch on axis {each['batch_axis']}" for each in inputs
    ]
    rows = [(str(exit_id), ", ".join(fields.values())) for exit_id, fields in found.exits.items()]
    table = _table(("exit", "outputs"), [*rows, ("full model", ", ".join(found.full.values()))])
    return Contents(payload, ("\n".join(lines), table))


def bytes_per_sample(boundary: Iterable[TensorSpec]) -> str:
    """Bytes that one sample hands over: "3072", or "1536·length" where another axis is dynamic."""
    terms: dict[str, int] = {}
    for spec in boundary:
        if spec.batch_axis is None:
            continue
        sizes = [size for axis, size in enumerate(spec.shape) if axis != spec.batch_axis]
        symbols = "".join(f"·{size}" for size in sizes if not isinstance(size, int))
        count = np.prod([size for size in sizes if isinstance(size, int)], dtype=np.int64)
        terms[symbols] = terms.get(symbols, 0) + int(count) * np.dtype(spec.dtype).itemsize
    return " + ".join(f"{count}{symbols}" for symbols, count in terms.items()) or "0"


def _plan_line(plan: Plan | None) -> str:
    if plan is None:
        return "plan: none"
    thresholds = ", ".join(f"{exit_id} at {threshold:.4g}" for exit_id, threshold in plan.thresholds.items())
    certified = "certified" if plan.certified else f"{'' if plan.estimate else 'not certified: '}{plan.reason}"
    return f"plan: exits {thresholds or 'none'}; precision {plan.precision:g}, {certified}"


def _inputs_line(inputs: Iterable[TensorSpec]) -> str:
    return "inputs: " + "; ".join(f"{spec.name} {spec.dtype} [{', '.join(map(str, spec.shape))}]" for spec in inputs)


def _exit_name(exit_id: int) -> str:
    return "full model" if exit_id == FULL_MODEL_ID else str(exit_id)


def _table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> Table:
    from rich.table import Table

    table = Table(*columns)
    for row in rows:
        table.add_row(*map(str, row))
    return table
