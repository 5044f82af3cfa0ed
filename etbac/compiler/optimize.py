"""From a model to a chain of the exits that pay, certified once, as it was rebuilt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from etbac.compiler.compile import Compiled, CompileOptions, compile_model
from etbac.contract import Plan
from etbac.engine_dir import EngineDir
from etbac.errors import UsageError
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
    """The rebuilt chain, the exits that were tried, its plan, and chain against full model on the search set."""

    compiled: Compiled
    tried: tuple[int, ...]
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
        cut = self.plan.search["static_cut"]
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
    **planning: Any,
) -> Optimized:
    """Compile the model file `model` with all its exits, measure, choose the exits that pay, rebuild with those alone,
    and certify the rebuilt chain: the certify set is read once.

    `options`: exits to choose from, engines and all else of the compilation. `planning`: as of `optimize_model`.
    """
    options = options or CompileOptions()
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
) -> Optimized:
    """As `optimize`, of what `read` gives: a model and how to compile it, read anew for every compilation.

    `data`, `metric`, `batch_size`, `uncertified`: see `plan`. `budget_s`: of each profile. `batches`: how many are
    raced against the full model at the end, 2,000 or more for a p99. Raises EtbacError where the precision cannot be
    certified (the rebuilt chain stays, without a certificate), and as `compile_model` does.
    """
    path = Path(engine_dir)
    planning: dict[str, Any] = {"data": data, "metric": metric, "batch_size": batch_size, "note": note, "bar": bar}
    exit_model, options = read()
    compiled = compile_model(exit_model, path, options)
    tried = compiled.engine_dir.manifest.exits
    note(f"compiled with exits {_listed(tried)}; measuring")
    lengths = _lengths(compiled.engine_dir, data)
    profile(path, lengths=lengths, budget_s=budget_s, note=note)
    chosen = tuple(plan(path, precision, read=False, **planning).thresholds)
    if not chosen:
        note("no exit pays: every sample is to take the whole chain")
    if chosen and chosen != tried:
        note(f"exits that pay: {_listed(chosen)}; rebuilding with those alone")
        exit_model, options = read()
        gates = {exit_id: gate for exit_id, gate in options.gates.items() if exit_id in chosen}
        compiled = compile_model(exit_model, path, replace(options, exits=chosen, gates=gates))
        profile(path, lengths=lengths, budget_s=budget_s, note=note)
    made = plan(path, precision, uncertified=uncertified, **planning)
    with load(path) as chain:
        samples, _ = load_search_and_certify(chain.engine_dir, data, seed=0)
        timings = race(chain, samples, made.search["batch_size"], batches)
    return Optimized(compiled, tried, made, timings)


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
    chosen = tuple(exit_id for exit_id in made.exits if exit_id in made.thresholds)
    if not chosen:
        raise UsageError(f"--plan: the plan of {path} lets nobody leave early, so there is no exit to keep")
    return chosen, made


def _listed(exits: tuple[int, ...]) -> str:
    return ", ".join(map(str, exits))
