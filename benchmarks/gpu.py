"""What chains gain on an NVIDIA GPU: `python -m benchmarks.gpu` prints a table and writes results/gpu.json.

With `--build-only` it builds the engines of tensorrt-rtx, which needs no GPU, and ends there. It fails where answers
differ from the CPU's by more than TOLERANCE.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import parser
from rich.console import Console
from rich.table import Table

from benchmarks.segment_files import SegmentFiles, in_format, segments_of, write
from benchmarks.zoo.project_models import ensemble
from benchmarks.zoo.subject import Subject, images, token_ids, with_attached_exits
from etbac.backends.interface import Array, Arrays, BuildOptions, Engine, Runner, Tensor
from etbac.backends.onnxruntime_backend import OnnxRuntimeBackend, device_here
from etbac.backends.tensorrt.backend import TensorRtRtx
from etbac.backends.tensorrt.cuda import Gpu, first_gpu
from etbac.contract import KEEP, TensorSpec
from etbac.errors import EtbacError
from etbac.runtime.stage import Stage

BATCHES = (1, 2, 4, 8, 16, 32, 64)
COMPARED = 16
"""Rows whose answers are compared with the CPU's."""
TOLERANCE = {"fp32": 1e-3, "fp16": 5e-2}
"""Largest difference from the CPU's answers in fp32, relative to the largest answer: untrained networks, whose answers
lie close together, are compared in another order of additions, and in fp16 with 11 bits."""
LEAVING = 0.4
"""Share of the samples that is made to leave at each exit."""
REPEATS, WARM_UP = 50, 5
TYPES = {"float32": "float", "float16": "float16", "int64": "int64", "int32": "int32", "bool": "bool"}

Opener = Callable[[Path], Runner]


def resnet50() -> Subject:
    from etbac.models.resnet import imagenet_resnet

    return with_attached_exits(imagenet_resnet(50), {"image": images(3, 224, 224)}, at=[3, 7, 13])


def bert_base() -> Subject:
    import transformers as tf

    network = tf.BertForSequenceClassification(tf.BertConfig())
    return with_attached_exits(network, token_ids(30522, 128), at=[3, 6, 9])


MODELS = {"ResNet-50": resnet50, "BERT-base": bert_base, "tiny": ensemble}


@dataclass(frozen=True)
class Work:
    """A model in one number format; `expected` is what the chain in fp32 answers on the CPU, exit by exit."""

    model: str
    dtype: str
    files: SegmentFiles
    samples: Arrays
    expected: Sequence[Array]

    def first(self, rows: int) -> Arrays:
        return {name: np.resize(array, (rows, *array.shape[1:])) for name, array in self.samples.items()}


def tensorrt_opener(dtype: str, folder: Path, graphs: bool) -> Opener:
    backend, options = TensorRtRtx(graphs), BuildOptions(dtype, max(BATCHES))
    return lambda path: backend.load(backend.build(path, options, folder))


def onnxruntime_opener(device: str) -> Opener:
    backend = OnnxRuntimeBackend(device)
    return lambda path: backend.load(Engine(backend.name, device, "fp32", path))


def walk(stages: Sequence[Stage], inputs: Arrays, leaving: float) -> list[Array]:
    """A batch through the chain, a share of it leaving at each exit whatever the gates say: predictions on the host."""
    rows = len(next(iter(inputs.values())))
    carried: Sequence[Tensor] = [inputs[name] for name in stages[0].inputs]
    predictions = []
    for stage in stages:
        given = stage.run(carried, np.arange(rows), np.inf)
        predictions.append(given.predictions()[0])
        carried, rows = given.boundary, max(1, round(rows * (1 - leaving)))
    return predictions


def prepare(model: str, dtypes: Sequence[str], folder: Path) -> list[Work]:
    """Cut the model, write its files in each number format, and take the CPU's answers."""
    subject = MODELS[model]()
    segments, (full,) = segments_of(subject, max(BATCHES)), segments_of(subject, max(BATCHES), exits=())
    samples: Arrays = dict(subject.samples or {})
    portable = write(segments, folder / "portable", subject.exit_model)
    work = []
    with ExitStack() as stack:
        stages = stages_of(portable, stack, onnxruntime_opener("cpu"))
        expected = walk(stages, {name: array[:COMPARED] for name, array in samples.items()}, 0)
    for dtype in dtypes:
        (whole,) = in_format([full], dtype, subject)
        files = write(in_format(segments, dtype, subject), folder / dtype, subject.exit_model, whole)
        work.append(Work(model, dtype, files, samples, expected))
    return work


def stages_of(files: SegmentFiles, stack: ExitStack, opener: Opener) -> list[Stage]:
    runners = [stack.enter_context(opener(path)) for path in files.paths]
    return [Stage(contract, runner) for contract, runner in zip(files.contracts, runners, strict=True)]


def built(work: Work, folder: Path) -> dict[str, Any]:
    """Build all that is measured later, and say what it took."""
    backend, options = TensorRtRtx(), BuildOptions(work.dtype, max(BATCHES))
    begun = time.perf_counter()
    assert work.files.full is not None
    engines = [backend.build(path, options, folder).path for path in (*work.files.paths, work.files.full)]
    megabytes = sum(path.stat().st_size for path in engines) / 2**20
    seconds = time.perf_counter() - begun
    return {"model": work.model, "dtype": work.dtype, "engines": len(engines), "MB": megabytes, "seconds": seconds}


def on_tensorrt(work: Work, folder: Path) -> list[dict[str, Any]]:
    on, off = (tensorrt_opener(work.dtype, folder, graphs) for graphs in (True, False))
    return compared(work, on, off, gathering(work, on, folder))


def on_onnxruntime(work: Work, folder: Path) -> list[dict[str, Any]]:
    if device_here() != "cuda":
        raise EtbacError("ONNX Runtime has no CUDA here: pip install 'etbac[gpu]'")
    opener = onnxruntime_opener("cuda")
    return compared(work, opener, None, gathering(work, opener, folder))


BACKENDS = {"tensorrt-rtx": on_tensorrt, "onnxruntime": on_onnxruntime}


def measured(work: Work, folder: Path, backend: str) -> list[dict[str, Any]]:
    """Rows of a backend, or one that says why it has none."""
    head = {"model": work.model, "dtype": work.dtype, "backend": backend}
    try:
        return [{**head, **row} for row in BACKENDS[backend](work, folder)]
    except EtbacError as error:
        return [{**head, "note": str(error)}]


def compared(
    work: Work, opener: Opener, without_graphs: Opener | None = None, gather: Mapping[int, float] | None = None
) -> list[dict[str, Any]]:
    """One row a batch size. `switching`: a chain whose batch size changes all the time ÷ one that keeps each size."""
    assert work.files.full is not None
    with ExitStack() as stack:
        stages = stages_of(work.files, stack, opener)
        full = stack.enter_context(opener(work.files.full))
        plain = stages_of(work.files, stack, without_graphs) if without_graphs else None
        difference = max(differences(stages, work))
        inputs = {batch: work.first(batch) for batch in BATCHES}
        rows = [_row(batch, inputs[batch], stages, full, plain, (gather or {}).get(batch)) for batch in BATCHES]
        order = [BATCHES[place] for place in np.random.default_rng(0).integers(0, len(BATCHES), REPEATS)]
        begun = time.perf_counter()
        for batch in order:
            walk(stages, inputs[batch], 0)
        steady = {row["batch"]: row["cut_ms"] for row in rows}
        switching = 1000 * (time.perf_counter() - begun) / sum(steady[batch] for batch in order)
    return [{**row, "switching": switching, "difference": difference} for row in rows]


def differences(stages: Sequence[Stage], work: Work) -> Iterator[float]:
    """Of every exit's answers from the CPU's in fp32, with nobody and with some leaving."""
    for leaving in (0, LEAVING):
        for found, expected in zip(walk(stages, work.first(COMPARED), leaving), work.expected, strict=True):
            gap = float(abs(found - expected[: len(found)]).max() / abs(expected).max())
            yield gap if np.isfinite(gap) else np.inf


def _row(
    batch: int, inputs: Arrays, stages: list[Stage], full: Runner, plain: list[Stage] | None, gather: float | None
) -> dict[str, Any]:
    full_ms = median_ms(lambda: np.asarray(full.run(inputs, ("prediction",))[0]))
    cut_ms, chain_ms = median_ms(lambda: walk(stages, inputs, 0)), median_ms(lambda: walk(stages, inputs, LEAVING))
    return {
        "batch": batch,
        "full_ms": full_ms,
        "cut_ms": cut_ms,
        "chain_ms": chain_ms,
        "chain_to_full": chain_ms / full_ms,
        "gather_share": gather / cut_ms if gather else None,
        "without_graphs_ms": median_ms(lambda: walk(plain, inputs, LEAVING)) if plain else None,
    }


def gathering(work: Work, opener: Opener, folder: Path) -> dict[int, float]:
    """Milliseconds of all boundaries' gathers alone, by batch size, from pools that are on the GPU."""
    folder.mkdir(parents=True, exist_ok=True)
    total = dict.fromkeys(BATCHES, 0.0)
    boundaries = [spec for contract in work.files.contracts[1:] for spec in contract.inputs]
    for number, spec in enumerate(spec for spec in boundaries if spec.batch_axis is not None):
        path = folder / f"gather-{number}.onnx"
        onnx.save(gather_model(spec), path)
        with opener(path) as first, opener(path) as second:
            whole = np.zeros((max(BATCHES), *map(int, spec.shape[1:])), spec.dtype)
            (pool,) = first.run({"pool": whole, KEEP: np.arange(len(whole))}, ("rows",))
            for batch in BATCHES:
                feed: dict[str, Tensor] = {"pool": pool, KEEP: np.arange(batch)}
                total[batch] += median_ms(lambda feed=feed: np.asarray(second.run(feed, ("one",))[0]))  # type: ignore[misc]
    return total


def gather_model(spec: TensorSpec) -> onnx.ModelProto:
    """`one` is a row, for the host to wait for."""
    kind, rest = TYPES[spec.dtype], "".join(f", {dim}" for dim in spec.shape[1:])
    return parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 18]> gather ({kind}[slots{rest}] pool, int64[batch] {KEEP}) '
        f"=> ({kind}[batch{rest}] rows, {kind}[n{rest}] one) "
        f"{{ rows = Gather (pool, {KEEP}) first = Constant <value_ints = [0]> () one = Gather (rows, first) }}"
    )


def median_ms(call: Callable[[], Any]) -> float:
    taken = []
    for _ in range(WARM_UP + REPEATS):
        begun = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - begun))
    return statistics.median(taken[WARM_UP:])


def main(arguments: Sequence[str]) -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    options.add_argument("--build-only", action="store_true", help="build with tensorrt-rtx and end; needs no GPU")
    options.add_argument("--model", choices=MODELS, action="append", help="by default ResNet-50 and BERT-base")
    options.add_argument("--dtype", choices=("fp32", "fp16"), action="append", help="by default both")
    options.add_argument("--backend", choices=BACKENDS, action="append", help="by default both")
    options.add_argument("--output", type=Path, default=Path("results/gpu.json"))
    asked = options.parse_args(arguments)
    console, gpu = Console(width=170, highlight=False, markup=False), first_gpu()
    if gpu is None and not asked.build_only:
        console.print("there is no NVIDIA GPU here; --build-only builds the engines without one")
        return 1
    machine = described(gpu)
    rows: list[dict[str, Any]] = []
    console.print(", ".join(machine.values()))
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    for found in _found(asked):
        rows += found
        columns = list(dict.fromkeys(name for row in found for name in row))
        table = Table(*columns)
        for row in found:
            table.add_row(*(_text(row.get(name)) for name in columns))
        console.print(table)
        asked.output.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1))
    wrong = [row for row in rows if row.get("difference", 0) > TOLERANCE[row["dtype"]]]
    for row in wrong:
        console.print(
            f"{row['model']} in {row['dtype']} on {row['backend']}: answers differ by {row['difference']:.2g}"
        )
    return 1 if wrong else 0


def _found(asked: argparse.Namespace) -> Iterator[list[dict[str, Any]]]:
    """What is to be told, as soon as it is there: of each model, number format and backend."""
    for model in asked.model or ("ResNet-50", "BERT-base"):
        with tempfile.TemporaryDirectory() as scratch:
            for work in prepare(model, asked.dtype or ("fp32", "fp16"), Path(scratch)):
                folder = Path(scratch) / f"engines-{work.dtype}"
                if asked.build_only:
                    yield [built(work, folder)]
                else:
                    yield from (measured(work, folder, backend) for backend in asked.backend or BACKENDS)


def described(gpu: Gpu | None) -> dict[str, str]:
    """What the figures were measured on, and when."""
    backends = TensorRtRtx(), OnnxRuntimeBackend()
    versions = {backend.name: f"{backend.name} {backend.available().version}" for backend in backends}
    there = {"gpu": gpu.name, "driver": f"driver {gpu.driver}"} if gpu else {"gpu": "no GPU"}
    return {**there, **versions, "date": date.today().isoformat()}


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
