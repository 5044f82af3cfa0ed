"""A model and how to compile it, as `compile` and `optimize` take it from the command line."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from etbac.cli.common import parse_ids

if TYPE_CHECKING:
    from etbac.compiler import CompileOptions
    from etbac.contract import TensorSpec
    from etbac.passes.exit_model import ExitModel
    from etbac.passes.pipeline import Hook

R = TypeVar("R")
CALIBRATION = 512


def parse_dims(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, tuple[int, int, int]]:
    """`length=1:128:512` -> the smallest, usual and largest size of a dynamic dimension; else a usage error."""
    found = {}
    for text in texts:
        name, _, sizes = text.partition("=")
        try:
            smallest, usual, largest = map(int, sizes.split(":"))
        except ValueError:
            raise click.BadParameter(f"{text!r}: write NAME=MIN:USUAL:MAX, like length=1:128:512") from None
        if not name or not 1 <= smallest <= usual <= largest:
            raise click.BadParameter(f"{text!r}: sizes go from 1 up, like length=1:128:512")
        found[name] = (smallest, usual, largest)
    return found


OPTIONS = (
    click.argument("model"),
    click.option("--exits", callback=parse_ids, metavar="IDS", help="Exits to keep, like 3,7,12.  [default: all]"),
    click.option(
        "--gate",
        "gates",
        multiple=True,
        metavar="[ID=]NAME[:OPTION=VALUE,…]",
        help="The rule at every exit, or at one, like 3=max-prob:temperature=1.4.  [default: max-prob]",
    ),
    click.option(
        "--exit", "named", multiple=True, metavar="ID=OUTPUT", help="An output of an ONNX file that is an exit."
    ),
    click.option(
        "--input-shape", "shapes", multiple=True, metavar="NAME:BxCxHxW", help="An input's shape; B is the batch."
    ),
    click.option("--weights", type=click.Path(path_type=Path), help="Weights for a factory (.safetensors or .pt)."),
    click.option("--factory", metavar="MODULE:FUNCTION", help="Code that builds a checkpoint's network."),
    click.option("--backend", default="onnxruntime", show_default=True, help="What builds the engines."),
    click.option("--dtype", default="fp32", show_default=True, help="Number format: fp32, fp16, bf16 or int8."),
    click.option("--keep-fp32", metavar="IDS", help="Exits whose segments stay in fp32, like 1,last."),
    click.option("--fallback", is_flag=True, help="Segments that the backend refuses run on ONNX Runtime."),
    click.option("--offline", is_flag=True, help="ONNX Runtime optimises graphs now, for this processor."),
    click.option(
        "--dim",
        "dims",
        multiple=True,
        callback=parse_dims,
        metavar="NAME=MIN:USUAL:MAX",
        help="Sizes of a dynamic dimension, for backends that build for them.",
    ),
    click.option("--max-batch", type=int, default=32, show_default=True, help="The largest batch of one run."),
    click.option(
        "--data",
        type=click.Path(path_type=Path),
        help="The checkpoint's data, where they are now; or an .npz file of inputs by name, for int8's ranges.",
    ),
    click.option("--keep-samples", is_flag=True, help="Keep 16 real inputs in the directory.  [default: made-up ones]"),
    click.option(
        "--dump-passes", type=click.Path(path_type=Path), metavar="DIR", help="Write the model after every pass."
    ),
    click.option("--trust", is_flag=True, help="Read a file even where that executes code in it."),
)


@dataclass(frozen=True)
class Request:
    """What the user asked for, option by option."""

    model: str
    exits: tuple[int, ...] | None
    gates: tuple[str, ...]
    named: tuple[str, ...]
    shapes: tuple[str, ...]
    weights: Path | None
    factory: str | None
    backend: str
    dtype: str
    keep_fp32: str | None
    fallback: bool
    offline: bool
    dims: dict[str, tuple[int, int, int]]
    max_batch: int
    data: Path | None
    keep_samples: bool
    dump_passes: Path | None
    trust: bool

    @property
    def planning_data(self) -> Path | None:
        """`data`, unless int8 takes its ranges from that file: a plan needs samples of its own."""
        for_ranges = self.dtype == "int8" and self.data is not None and self.data.is_file()
        return None if for_ranges else self.data

    def read(self) -> tuple[ExitModel, CompileOptions]:
        """The model, and how to compile it."""
        from etbac.compiler import CompileOptions, EngineOptions
        from etbac.frontend.inputs import parse_input_shape
        from etbac.frontend.load import LoadOptions, load_model
        from etbac.passes.gates.registry import parse_all

        load = LoadOptions(
            exits=self.named,
            input_shapes=dict(map(parse_input_shape, self.shapes)),
            weights=self.weights,
            factory=self.factory,
            trust=self.trust,
        )
        gate, single_gates = parse_all(self.gates)
        exit_model = load_model(self.model, load)
        calibration = None
        if self.dtype == "int8":
            calibration = _calibration(exit_model.input_specs(), self.model, self.factory, self.data)
        options = CompileOptions(
            exits=self.exits,
            gate=gate,
            gates=single_gates,
            engines=EngineOptions(
                self.backend, self.dtype, self.keep_fp32, self.fallback, calibration, self.dims, self.offline
            ),
            max_batch=self.max_batch,
            samples=_real_samples(self.model, self.factory, self.data) if self.keep_samples else None,
            load=load,
            hook=_hook(self.dump_passes),
        )
        return exit_model, options


def takes_model(command: Callable[..., R]) -> Callable[..., R]:
    """Add the argument MODEL and OPTIONS, passed on as one `request`."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> R:
        asked = {each.name: kwargs.pop(each.name) for each in fields(Request)}
        return command(*args, request=Request(**asked), **kwargs)

    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(OPTIONS), wrapped)


def _calibration(
    specs: tuple[TensorSpec, ...], model: str, factory: str | None, data: Path | None
) -> dict[str, Any] | None:
    """Inputs from which int8 takes its ranges: an .npz file's, or the checkpoint's fit set; None where there are none.

    The sets that a plan is made from are not touched.
    """
    from etbac.errors import UsageError
    from etbac.runtime.sources import read_arrays

    if data is not None and not data.is_dir():
        return read_arrays(data, specs)
    if not model.endswith(".pt"):
        if data is not None:
            raise UsageError(f"--data {data}: int8 takes its ranges from an .npz file of inputs by name")
        return None
    from etbac.models.checkpoint import load, load_set

    inputs = load_set(load(Path(model), factory), "fit", data).inputs
    return {name: array[:CALIBRATION] for name, array in inputs.items()}


def _hook(folder: Path | None) -> Hook | None:
    if folder is None:
        return None
    from etbac.passes.pipeline import DumpModels

    return DumpModels(folder)


def _real_samples(model: str, factory: str | None, data: Path | None) -> dict[str, Any]:
    """The first inputs of the checkpoint's test set."""
    from etbac.compiler.compile import SAMPLES
    from etbac.models.checkpoint import load, load_set

    inputs = load_set(load(Path(model), factory), "test", data).inputs
    return {name: array[:SAMPLES] for name, array in inputs.items()}
