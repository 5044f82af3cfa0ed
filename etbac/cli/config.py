"""Options of a command from a file."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import click


def read_config(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    """Defaults of the other options from a file: TOML, or JSON as ETBA's profiler_config.json; else a usage error."""
    if path is None:
        return
    try:
        found = json.loads(path.read_text()) if path.suffix == ".json" else _toml(path)
    except (ValueError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise click.BadParameter(f"{path} holds no table of options")
    named = {name.replace("-", "_"): value for name, value in found.items()}
    known = {each.name for each in context.command.params}
    unknown = sorted(set(named) - known)
    if unknown:
        options = ", ".join(sorted(str(name).replace("_", "-") for name in known))
        raise click.BadParameter(f"{path}: there is no option {unknown[0]!r}; there are {options}")
    context.default_map = {name: _as_option(value) for name, value in named.items()}


def _as_option(value: object) -> object:
    """A list as it is written on the command line."""
    return ",".join(map(str, value)) if isinstance(value, list) else value


def _toml(path: Path) -> object:
    try:
        tomllib = import_module("tomllib")
    except ImportError:
        raise click.BadParameter(f"{path}: TOML needs Python 3.11; write the same options as a .json file") from None
    return tomllib.loads(path.read_text())
