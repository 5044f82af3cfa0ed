"""From a model to a chain of the exits that pay, certified once, as it was rebuilt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from etbac.compiler.compile import Compiled, CompileOptions, compile_model
from etbac.contract import Plan
from etbac.engine_dir import EngineDir, Writer, read_readings
from etbac.errors import EngineDirError, UsageError
from etbac.frontend.load import load_model
from etbac.passes.exit_model import ExitModel
from etbac.planner.plan import plan
from etbac.planner.race import race
from etbac.planner.samples import load_search_and_certify
from etbac.profiles.profiler import BUDGET_S, profile
from etbac.profiles.race import FEWEST_FOR_P99, Timings
from etbac.runtime.chain import load

BATCHES = 400

Note = Callable[[str], None]
Bar = Callable[[str, int], Callable[[int], None]]


@dataclass(frozen=True)
class Optimized:
    """The rebuilt chain, the first plan, of the exits that were tried, the chain's own, and chain against full model on
    the search set."""

    compiled: Compiled
    tried: tuple[int, ...]
    first: Plan
    plan: Plan
    timings: Timings

    @property
    def full_ms(self) -> float | None:
        """The full model's batch as the matrix has it."""
        predicted = self.plan.predicted.get(self.plan.search["batch_size"], {})
        return predicted.get("full_ms")

    @property
    def figures(self) -> dict[str, float | None]:
        """Milliseconds of a batch, ratios to the full model; p99 only from 2,000 batches on."""
        timings, batches = self.timings, len(self.timings.seconds["chain"])
        enough = batches >= FEWEST_FOR_P99
        predicted = self.plan.predicted.get(self.plan.search["batch_size"], {})
        cut = self.first.search["static_cut"]
        size = str(self.plan.search["batch_size"])
        return {
            "batches": batches,
            "predicted_ms": predicted.get("chain_ms"),
            "measured_ms": timings.mean("chain") * 1e3,
            "full_ms": timings.mean("full") * 1e3,
            "ratio": timings.ratio("chain", "full"),
            "p90_ratio": timings.quantile("chain", 0.9) / timings.quantile("full", 0.9),
            "p99_ratio": timings.quantile("chain", 0.99) / timings.quantile("full", 0.99) if enough else None,
            "p99_ratio_bound": timings.p99_ratio_bound("chain", "full") if enough else None,
            "static_cut_ms": None if cut is None else cut["predicted"].get(size),
        }


def optimize(
    model: str | Path,
    engine_dir: str | Path = "engines",
    precision: float = 0.9968,
    *,
    options: CompileOptions | None = None,
    factory: str | None = None,
    **planning: Any,
) -> Optimized:
    """Compile the model file `model` with all its exits, measure, choose the exits that pay, rebuild with those alone
    (where none pays, the full model is the chain), and certify the rebuilt chain: the certify set is read once.

    `options`: exits to choose from, engines and all else of the compilation. `factory`: `module:function` that made the
    network, where that is your own: it is imported and run. `planning`: as of `optimize_model`.
    """
    options = options or CompileOptions()
    if factory is not None:
        options = replace(options, load=replace(options.load, factory=factory))
    return optimize_model(lambda: (load_model(str(model), options.load), options), engine_dir, precision, **planning)


def optimize_model(
    read: Callable[[], tuple[ExitModel, CompileOptions]],
    engine_dir: str | Path,
    precision: float = 0.9968,
    *,
    data: Path | None = None,
    metric: str | None = None,
    batch_size: int | None = None,
    uncertified: bool = False,
    budget_s: float = BUDGET_S,
    batches: int = BATCHES,
    note: Note = lambda sentence: None,
    bar: Bar = lambda name, whole: lambda done: None,
    **demands: Any,
) -> Optimized:
    """As `optimize`, of what `read` gives: a model and how to compile it, read anew for every compilation.

    `data`, `metric`, `batch_size`, `uncertified` and `demands` (`delta`, `test`, `max_latency`, `min_class_precision`,
    `max_head_memory`): see `plan`. `budget_s`: of each profile. `batches`: how many are
    raced against the full model at the end, 2,000 or more for a p99. The chain is made in another place and put in
    force at the end. Raises EtbacError where the precision cannot be certified, and as `compile_model` does: what was
    there stays, but for the count of the certify set's readings.
    """
    path = Path(engine_dir)
    planning = {"data": data, "metric": metric, "batch_size": batch_size, "note": note, "bar": bar, **demands}
    with TemporaryDirectory() as scratch:
        work = Path(scratch, "engines")
        if path.exists():
            _take_over(path, work)
        compiled, tried, first = _rebuilt(work, precision, read, budget_s, planning)
        made = plan(work, precision, uncertified=uncertified, counted_in=path, **planning)
        with Writer(path) as writer:
            compiled = replace(compiled, engine_dir=writer.adopt(EngineDir.open(work)))
    with load(path) as chain:
        samples, _ = load_search_and_certify(chain.engine_dir, data, seed=0)
        timings = race(chain, samples, made.search["batch_size"], batches)
    return Optimized(compiled, tried, first, made, timings)


def _take_over(path: Path, work: Path) -> None:
    """Have in `work` what is in force at `path`, so that what stays the same is not built again; what is damaged is.

    Raises, before any work is done, what would keep the chain from being put in force at `path`.
    """
    with Writer(path):
        read_readings(path)
        with suppress(EngineDirError), Writer(work) as writer:
            writer.adopt(EngineDir.open(path))


def _rebuilt(
    work: Path,
    precision: float,
    read: Callable[[], tuple[ExitModel, CompileOptions]],
    budget_s: float,
    planning: Mapping[str, Any],
) -> tuple[Compiled, tuple[int, ...], Plan]:
    """A chain with the exits that pay, measured, in the directory `work`; the exits that were tried, and the plan of
    those."""
    note = planning["note"]
    exit_model, options = read()
    compiled = compile_model(exit_model, work, options)
    tried = compiled.engine_dir.manifest.exits
    note(f"compiled with exits {_listed(tried)}; measuring")
    lengths = _lengths(compiled.engine_dir, planning["data"])
    _profile(work, lengths, budget_s, note)
    chosen = plan(work, precision, read=False, **planning)
    if chosen.exits != tried:
        paying = f"exits that pay: {_listed(chosen.exits)}; rebuilding with those alone"
        note(paying if chosen.exits else "no exit pays; rebuilding with the full model alone")
        exit_model, options = read()
        gates = {exit_id: gate for exit_id, gate in options.gates.items() if exit_id in chosen.exits}
        compiled = compile_model(exit_model, work, replace(options, exits=chosen.exits, gates=gates))
        _profile(work, lengths, budget_s, note)
    return compiled, tried, chosen


def _profile(work: Path, lengths: list[int] | None, budget_s: float, note: Note) -> None:
    """Measured, and said where the machine is too noisy."""
    warning = profile(work, lengths=lengths, budget_s=budget_s, note=note).warning
    if warning:
        note(f"warning: {warning}")


def _lengths(engine_dir: EngineDir, data: Path | None) -> list[int] | None:
    """To measure at, where a dimension besides the batch is dynamic: that of the data."""
    if not any(spec.lengths for spec in engine_dir.manifest.inputs):
        return None
    search, _ = load_search_and_certify(engine_dir, data, seed=0)
    return None if search.length is None else [search.length]


def exits_of_plan(path: Path) -> tuple[tuple[int, ...], Plan]:
    """The exits that the plan in force uses, and the plan. A UsageError where there is none, or it uses none."""
    made = EngineDir.open(path).plan
    if made is None:
        raise UsageError(f"--plan: {path} has no plan; make one with etbac plan")
    if not made.thresholds:
        raise UsageError(f"--plan: the plan of {path} lets nobody leave early, so there is no exit to keep")
    return made.exits, made


def _listed(exits: tuple[int, ...]) -> str:
    return ", ".join(map(str, exits))
