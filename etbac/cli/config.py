"""Options of a command from a file."""

from __future__ import annotations

import json
import os
from importlib import import_module
from pathlib import Path

import click

BATCH_SIZE_MAX, INTERVAL, DEVICE = "batch_size_max", "interval", "device"
"""What ETBA's profiler_config.json calls the largest batch, the step between batch sizes, and cpu or cuda."""
NO_OPTIONS = ("as_json", "config", "debug")


def read_config(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    """Defaults of the other options from a TOML or JSON file, which may use ETBA's names; else a usage error."""
    if path is None:
        return
    try:
        found = json.loads(path.read_text()) if path.suffix == ".json" else _toml(path)
    except (ValueError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise click.BadParameter(f"{path} holds no table of options")
    try:
        named = _without_etba_names({name.replace("-", "_"): value for name, value in found.items()})
    except ValueError as error:
        raise click.BadParameter(f"{path}: {error}") from None
    known = {str(each.name) for each in context.command.params} - set(NO_OPTIONS)
    unknown = sorted(set(named) - known)
    if unknown:
        options = ", ".join(sorted(name.replace("_", "-") for name in (*known, BATCH_SIZE_MAX, INTERVAL, DEVICE)))
        raise click.BadParameter(f"{path}: there is no option {unknown[0]!r}; there are {options}")
    context.default_map = {name: _as_option(value) for name, value in named.items()}


def _without_etba_names(named: dict[str, object]) -> dict[str, object]:
    """The same options by this command's names; ValueError where they contradict each other or say too little."""
    last, step, device = (named.pop(name, None) for name in (BATCH_SIZE_MAX, INTERVAL, DEVICE))
    if (last or step) and ("batch_sizes" in named or "max_batch" in named):
        raise ValueError(f"{BATCH_SIZE_MAX} and {INTERVAL} say what to measure, and so do batch-sizes and max-batch")
    if step is not None and last is None:
        raise ValueError(f"{INTERVAL} needs {BATCH_SIZE_MAX}, the size up to which it goes")
    if device is not None:
        _use(device)
    if last is not None:
        named |= {"max_batch": last} if step is None else {"batch_sizes": f"1:{last}:{step}"}
    return named


def _use(device: object) -> None:
    """Tell ONNX Runtime where to run, unless the environment does; ValueError for what is neither cpu nor cuda."""
    from etbac.backends.onnxruntime_backend import DEVICE_VARIABLE

    name = {"cuda:0": "cuda", "gpu": "cuda"}.get(str(device), str(device))
    if name not in ("cpu", "cuda"):
        raise ValueError(f"{DEVICE} {device!r}: write cpu or cuda")
    os.environ.setdefault(DEVICE_VARIABLE, name)


def _as_option(value: object) -> object:
    """A list as it is written on the command line."""
    return ",".join(map(str, value)) if isinstance(value, list) else value


def _toml(path: Path) -> object:
    try:
        tomllib = import_module("tomllib")
    except ImportError:
        raise click.BadParameter(f"{path}: TOML needs Python 3.11; write the same options as a .json file") from None
    return tomllib.loads(path.read_text())
