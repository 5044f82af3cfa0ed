"""TensorRT for RTX: which segments of the zoo it builds, and a second build that builds nothing."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Any

from benchmarks.backends.subjects import FOLDER
from benchmarks.measures import Measure, at_most
from benchmarks.tensorrt_zoo import rows
from benchmarks.zoo.project_models import resnet50
from etbac.compiler import CompileOptions, EngineOptions, write_chain
from etbac.compiler.engines import build_engines
from etbac.engine_dir import Writer

RTX = EngineOptions(backend="tensorrt-rtx", fallback=True)
Row = dict[str, Any]


def zoo_row(name: str) -> Row:
    """As `benchmarks.tensorrt_zoo` gives it."""
    (row,) = rows([name])
    return {**asdict(row), "passed": True}


def second_build() -> Row:
    """ResNet-50's engines built, and built again: seconds, and how many were not found again."""
    subject = resnet50()
    options = CompileOptions(samples=subject.samples, engines=RTX)
    taken, missed = [], []
    for _ in range(2):
        with Writer(FOLDER / "rtx") as writer:
            samples = subject.samples or {}
            written = write_chain(writer, subject.exit_model.copy(), samples, options)
            begun = time.perf_counter()
            name, built = build_engines(writer, written.sources, written.segments, options.max_batch, RTX)
            taken.append(time.perf_counter() - begun)
            missed.append([each.miss for each in built if each.miss is not None])
            writer.commit(replace(written.manifest, engines=name))
    return {"passed": not missed[1], "note": "; ".join(missed[1]), "first": taken[0], "second": taken[1]}


def measures_of_second(row: Row) -> list[Measure]:
    return [at_most("ResNet-50 by tensorrt-rtx: seconds of a second build, all found again", row["second"], 2.0, ".2f")]
