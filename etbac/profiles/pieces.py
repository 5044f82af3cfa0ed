"""Engines that only a profile has: a segment without its head, and the gather at its beginning, each measured alone.

With them any subset of exits can be priced without building it: dropping exit k saves its head and gate (segment k less
its trunk) and the gather of the segment behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir import tape
from onnx_ir.passes.common import RemoveUnusedNodesPass

from etbac.backends import registry
from etbac.backends.interface import BuildOptions, Runner, Tensor
from etbac.contract import KEEP, SegmentContract, TensorSpec
from etbac.errors import BackendRefusal, UsageError
from etbac.passes.use_opset import OPSET
from etbac.runtime.chain import Chain

TRUNK, GATHER = "trunk", "gather"
IR_VERSION = 10
EXTERNAL_FROM = 1024


@dataclass(frozen=True)
class Piece:
    """`name`: `trunk-NN` or `gather-NN`, of the segment at `place` in the chain, which ends at `exit_id`."""

    name: str
    exit_id: int
    place: int
    runner: Runner
    inputs: tuple[str, ...]
    read: frozenset[str]
    outputs: tuple[str, ...]

    def run(self, carried: Sequence[Tensor], keep: npt.NDArray[np.int64]) -> Sequence[Tensor]:
        """As `Stage.run`, for the boundary that its segment takes."""
        feed: dict[str, Tensor] = {**dict(zip(self.inputs, carried, strict=True)), KEEP: keep}
        return self.runner.run({name: feed[name] for name in self.read}, self.outputs)


@contextmanager
def pieces(chain: Chain) -> Iterator[list[Piece]]:
    """The pieces of a chain, built as its segments were; one that the backend refuses, or has no ranges of
    lengths for, is left out."""
    chosen = chain.selection
    with TemporaryDirectory() as scratch, ExitStack() as stack:
        found = []
        for place, (contract, engine) in enumerate(zip(chosen.contracts, chosen.engines, strict=True)):
            backend = registry.get(engine.backend)
            options = BuildOptions(engine.dtype, chain.manifest.max_batch)
            source = chain.engine_dir.path / chosen.sources[place]
            inputs = tuple(spec.name for spec in contract.inputs)
            for name, model in _models(contract, source):
                path = Path(scratch, f"{name}.onnx")
                ir.save(model, path, external_data=f"{name}.bin", size_threshold_bytes=EXTERNAL_FROM)
                read, given = (
                    tuple(str(v.name) for v in values) for values in (model.graph.inputs, model.graph.outputs)
                )
                with suppress(BackendRefusal, UsageError):
                    runner = stack.enter_context(backend.load(backend.build(path, options, Path(scratch))))
                    found.append(Piece(name, contract.exit_id, place, runner, inputs, frozenset(read), given))
        yield found


def head_bytes(chain: Chain) -> dict[int, int]:
    """By exit id: bytes of the weights that nothing of its segment but its head and gate reads, in the engines' format.

    They are what a chain built without the exit does not have.
    """
    chosen = chain.selection
    found = {}
    for place, contract in enumerate(chosen.contracts[:-1]):
        source = chain.engine_dir.path / chosen.sources[place]
        found[contract.exit_id] = _weight_bytes(ir.load(source)) - _weight_bytes(_trunk(contract, source))
    return found


def _weight_bytes(model: ir.Model) -> int:
    return sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)


def _models(contract: SegmentContract, source: Path) -> Iterator[tuple[str, ir.Model]]:
    if not contract.is_last and contract.boundary:
        yield f"{TRUNK}-{contract.index:02d}", _trunk(contract, source)
    if not contract.is_first:
        yield f"{GATHER}-{contract.index:02d}", _gather(contract)


def _trunk(contract: SegmentContract, source: Path) -> ir.Model:
    """The segment with no output but its boundary."""
    model = ir.load(source)
    by_name = {value.name: value for value in model.graph.outputs}
    model.graph.outputs[:] = [by_name[spec.name] for spec in contract.boundary]
    RemoveUnusedNodesPass()(model)
    given = set(model.graph.outputs)
    model.graph.inputs[:] = [value for value in model.graph.inputs if value.uses() or value in given]
    return model


def _gather(contract: SegmentContract) -> ir.Model:
    """The rows that go on, of every boundary tensor that has rows."""
    keep = _value(TensorSpec(KEEP, "int64", ("kept",), 0))
    specs = [spec for spec in contract.inputs if spec.batch_axis is not None]
    inputs = [_value(spec) for spec in specs]
    nodes, outputs = tape.Tape(), []
    for value, spec in zip(inputs, specs, strict=True):
        rows = nodes.op("Gather", [value, keep], {"axis": 0})
        rows.name, rows.type, rows.shape = f"{spec.name}.kept", value.type, ir.Shape(("kept", *spec.shape[1:]))
        outputs.append(rows)
    graph = ir.Graph([*inputs, keep], outputs, nodes=nodes.nodes, opset_imports={"": OPSET}, name=GATHER)
    return ir.Model(graph, ir_version=IR_VERSION)


def _value(spec: TensorSpec) -> ir.Value:
    dtype = ir.DataType.from_numpy(np.dtype(spec.dtype))
    return ir.Value(name=spec.name, type=ir.TensorType(dtype), shape=ir.Shape(spec.shape))
