"""Which segments TensorRT for RTX builds of the zoo's models: `python -m benchmarks.tensorrt_zoo [--dtype fp16] [ROW]`.

Needs no GPU. Each row has a process of its own, since a native builder can take its process with it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.segment_files import in_format, segments_of, write
from benchmarks.zoo.catalogue import BY_NAME, ENTRIES
from benchmarks.zoo.packages import install_missing
from etbac.backends.interface import BuildOptions
from etbac.backends.tensorrt.backend import TensorRtRtx
from etbac.errors import EtbacError
from etbac.formats import FORMATS

MAX_BATCH = 32
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Row:
    """`refused`: reasons, one for each segment that was not built. `seconds`: of the builds alone. `note`: why the
    model did not come as far as a build."""

    name: str
    built: int = 0
    refused: tuple[str, ...] = ()
    megabytes: float = 0.0
    seconds: float = 0.0
    note: str = ""


def rows(names: Sequence[str] = (), dtype: str = "fp32") -> Iterator[Row]:
    """One for each of the zoo's models, or of those named."""
    for name in names or [entry.name for entry in ENTRIES]:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            try:
                yield pool.submit(build_row, name, dtype).result()
            except BrokenProcessPool:
                yield Row(name, note="the process ended")
            except Exception as error:  # the other rows are built all the same
                yield Row(name, note=f"failed: {type(error).__name__}: {error}")


def build_row(name: str, dtype: str) -> Row:
    backend = TensorRtRtx()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        try:
            subject = BY_NAME[name].load()(folder)
            segments = segments_of(subject, MAX_BATCH)
            files = write(segments, folder / "fp32", subject.exit_model)
            options = BuildOptions(dtype, MAX_BATCH, files.ranges())
            if dtype != "fp32":
                files = write(in_format(segments, dtype, subject), folder / dtype, subject.exit_model)
        except EtbacError as error:
            return Row(name, note=f"not compiled: {error}")
        refused, bytes_built, begun = [], 0, time.perf_counter()
        for path in files.paths:
            try:
                bytes_built += backend.build(path, options, folder / "engines").path.stat().st_size
            except EtbacError as error:
                refused.append(str(error))
        seconds = time.perf_counter() - begun
    return Row(name, len(files.paths) - len(refused), tuple(refused), bytes_built / MEGABYTE, seconds)


def main(arguments: Sequence[str]) -> int:
    """Print the table, then the reasons of refusals; 1 where a segment was refused, or a model that the zoo compiles
    did not come so far."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tensorrt_zoo", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="ROW", help="names of the zoo's rows; all by default")
    parser.add_argument("--dtype", choices=FORMATS, default="fp32")
    asked = parser.parse_args(arguments)
    unknown = [name for name in asked.names if name not in BY_NAME]
    if unknown:
        parser.error(f"there is no row {unknown[0]!r}; there are {', '.join(BY_NAME)}")
    install_missing()
    console = Console(width=150, highlight=False, markup=False)
    found = []
    for row in rows(asked.names, asked.dtype):
        console.print(f"… {row.name}")
        found.append(row)
    version = TensorRtRtx().available().version
    table = Table("model", "built", "refused", "MB", "seconds", title=f"tensorrt-rtx {version}, {asked.dtype}")
    for row in found:
        table.add_row(row.name, str(row.built), str(len(row.refused)), f"{row.megabytes:.1f}", f"{row.seconds:.1f}")
    console.print(table)
    for row in found:
        for reason in (*row.refused, *filter(None, [row.note])):
            console.print(f"{row.name}: {reason}")
    return 1 if any(row.refused or (row.note and BY_NAME[row.name].refusal is None) for row in found) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
