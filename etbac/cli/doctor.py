"""`etbac doctor`: what this machine can run, and how to install what is missing."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from etbac.cli.common import Output, standard
from etbac.cli.examine import examine_backend, examine_driver, examine_package, one_line
from etbac.cli.optional import ETBAC, PACKAGES

BACKENDS = {
    "onnxruntime": PACKAGES["onnxruntime"].install,
    "tensorrt-rtx": PACKAGES["tensorrt-rtx-cu13-bindings"].install,
    "tensorrt": PACKAGES["tensorrt"].install,
    "openvino": PACKAGES["openvino"].install,
    "reference": ETBAC,
}
BOTH = (
    "onnxruntime and onnxruntime-gpu are both installed and overwrite one module: uninstall both, then install the one "
    "you need (pip install 'etbac[cpu]' or 'etbac[gpu]')."
)


@click.command("doctor", epilog="Example: etbac doctor --json")
@standard
def cli(output: Output) -> None:
    """Say which backends and optional packages work on this machine."""
    from rich.table import Table

    names, notes = _backend_names()
    with output.progress() as progress, ThreadPoolExecutor(max(2, os.cpu_count() or 1)) as pool:
        looks = [*(pool.submit(_backend, name) for name in names), *(pool.submit(_package, name) for name in PACKAGES)]
        rows = [look.result() for look in progress.track(looks, description="looking")]
    backends = dict(zip(names, rows[: len(names)], strict=True))
    packages = dict(zip(PACKAGES, rows[len(names) :], strict=True))

    table = Table("backend", "works", "version", "device", "dtypes", "found", "install")
    for name, row in backends.items():
        works = " and ".join(what for what in ("builds", "runs") if row[what])
        dtypes, install = (" ".join(row["dtypes"]), "") if works else ("–", row["install"])
        table.add_row(name, works or "no", row["version"] or "–", row["device"], dtypes, row["found"], install)
    others = Table("package", "version", "used to", "found", "install")
    for name, row in packages.items():
        others.add_row(name, row["version"] or "–", row["use"], row["found"], row["install"])

    if all(packages[name]["version"] for name in ("onnxruntime", "onnxruntime-gpu")):
        notes.append(BOTH)
    driver = examine_driver()
    if driver is not None:
        notes.append(f"the NVIDIA driver does not work: {driver}")
    output.result({"backends": backends, "packages": packages, "notes": notes}, table, others, *notes)


def _backend_names() -> tuple[list[str], list[str]]:
    """All backends, and what kept some of them from being found."""
    try:
        from etbac.backends import registry

        return list(registry.names()), []
    except Exception as error:  # broken metadata of any package, or numpy
        return list(BACKENDS), [f"backends of other packages cannot be listed: {_kind(error)}"]


def _backend(name: str) -> dict[str, Any]:
    answer, reason = examine_backend(name)
    if reason is not None:
        install = BACKENDS.get(name, "install its package again")
        answer = {"usable": False, "version": None, "device": "–", "dtypes": [], "builds": False, "runs": False}
        return {**answer, "found": reason, "install": install}
    found = answer["found"].removeprefix(f"backend {name}: ").removesuffix(f". Install it: {answer['install']}")
    return {**answer, "found": found}


def _package(name: str) -> dict[str, Any]:
    package, (number, damage) = PACKAGES[name], installed(name)
    broken = examine_package(package.module) if package.module else None
    if number is None and damage is None and (broken is not None or not package.module):
        return {"version": None, "use": package.use, "found": "not installed", "install": package.install}
    found = damage or broken or ""
    install = f"pip install --force-reinstall {name}" if found else ""
    if found.startswith(ModuleNotFoundError.__name__):  # something that it needs is absent
        install = package.install
    return {"version": number, "use": package.use, "found": found, "install": install}


def installed(package: str) -> tuple[str | None, str | None]:
    """The version of an installed distribution, None if it is absent; and what is wrong with its metadata."""
    try:
        number: str | None = version(package)
    except PackageNotFoundError:
        return None, None
    except Exception as error:
        return None, f"its metadata cannot be read: {_kind(error)}"
    return number, None if number else "its metadata has no version"


def _kind(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(error)}"
