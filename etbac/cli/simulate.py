"""`etbac simulate`: a chain under load, by its profile."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from etbac.cli.common import Engines, Output, engine_dir_option, standard, which_engines
from etbac.contract import FULL_MODEL_ID, Plan
from etbac.errors import InputError, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from etbac.planner.simulate import Floats, Simulation
    from etbac.runtime.rebatching import Costs

SAMPLES = 20_000


def _added(name: str, says: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An option for time that the profile has not; none by default."""
    return click.option(name, type=click.FloatRange(0), default=0.0, show_default=True, help=says)


@click.command("simulate", epilog="Example: etbac simulate --rate 2000 --within 5 --devices 4")
@engine_dir_option
@click.option(
    "--profile",
    "profiled",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file of profiles/ of this directory's or another's, of this machine or another.  [default: that of the "
    "engines in force, on this machine]",
)
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Samples a second, each whenever it likes.")
@click.option("--burst", type=click.IntRange(1), default=1, show_default=True, help="With --rate: samples at a time.")
@click.option(
    "--trace",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Instead: a text file with the second at which each sample arrives, a line each.",
)
@click.option(
    "--within",
    type=click.FloatRange(0, min_open=True),
    help="Milliseconds in which an answer is wanted.  [default: twice the full model's for one sample]",
)
@_added("--beyond", "Milliseconds of a sample's way in beyond the engines, one sample after another: Python's share.")
@_added("--by-sample", "Milliseconds for which each sample of a run keeps its device for longer: answers handed out.")
@click.option("--devices", type=click.IntRange(1), default=1, show_default=True, help="Each with the whole chain.")
@click.option("--room", type=click.IntRange(1), default=256, show_default=True, help="Samples on a device at once.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of arrivals, and of who leaves where.")
@standard
@which_engines
def cli(
    output: Output,
    engine_dir: Path,
    profiled: Path | None,
    rate: float | None,
    burst: int,
    trace: Path | None,
    within: float | None,
    beyond: float,
    by_sample: float,
    devices: int,
    room: int,
    seed: int,
    engines: Engines,
) -> None:
    """Say what the chain would answer in time under load, rebatching, and what the full model would, joining batches.

    Who leaves where is drawn from the plan's shares; latency is the profile's. Nothing is run.
    """
    from etbac.planner.simulate import bursts, poisson, simulate

    if (rate is None) == (trace is None):
        raise click.UsageError("say when samples arrive: either --rate or --trace")
    plan, ids, (stages, full) = _measured(engine_dir, engines) if profiled is None else _read_from(engine_dir, profiled)
    if trace is not None:
        arrivals = _read(trace)
    else:
        assert rate is not None
        arrivals = poisson(rate, SAMPLES, seed) if burst == 1 else bursts(rate, SAMPLES, burst, seed)
    leaves = _leaves(engine_dir, plan, ids, len(arrivals), seed)
    within_s = 2 * float(full.seconds[0, 0]) if within is None else within / 1e3
    how = devices, room, within_s, seed, beyond / 1e3, by_sample / 1e3
    found = {
        "chain": simulate(stages, arrivals, leaves, *how),
        "full model": simulate(full, arrivals, np.zeros_like(leaves), *how),
    }
    rows = {name: _figures(each, within_s) for name, each in found.items()}
    offered = len(arrivals) / max(float(arrivals[-1] - arrivals[0]), 1e-9)
    payload = {"offered": offered, "within_ms": within_s * 1e3, "devices": devices, "rows": rows}
    output.result(payload, _table(rows, within_s), f"{len(arrivals):,} samples, {offered:,.0f} a second")


def _measured(path: Path, engines: Engines) -> tuple[Plan | None, tuple[int, ...], tuple[Costs, Costs]]:
    """Plan, ids of the stages, and costs, of the engines that would run here."""
    from etbac.profiles.rebatch import costs
    from etbac.runtime.chain import load

    with load(path, **engines) as chain:
        return chain.plan, chain.ids, costs(chain)


def _read_from(path: Path, profiled: Path) -> tuple[Plan | None, tuple[int, ...], tuple[Costs, Costs]]:
    """The same with a profile from a file; nothing is loaded, so that no engine needs to run here."""
    from etbac.engine_dir import EngineDir
    from etbac.profiles.profile import Profile
    from etbac.profiles.rebatch import costs_of

    try:
        profile = Profile.from_json(json.loads(profiled.read_text()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            f"{profiled} is no profile; `etbac profile` writes one to profiles/ of its directory"
        ) from None
    directory = EngineDir.open(path)
    plan, ids = directory.read_plan(profile.name) or directory.plan, (*directory.manifest.exits, FULL_MODEL_ID)
    if profile.matrix.stages != ids:
        raise UsageError(f"{profiled} is of a chain with the stages {profile.matrix.stages}; {path} has {ids}")
    return plan, ids, costs_of(profile, directory.manifest.max_batch)


def _leaves(path: Path, plan: Plan | None, ids: tuple[int, ...], count: int, seed: int) -> Any:
    """Which stage each sample leaves at, int64 [count]."""
    if plan is None:
        raise UsageError(f"{path} has no plan, and nobody would leave early; run etbac plan first")
    shares = np.array([plan.search["shares"].get(str(exit_id), 0.0) for exit_id in ids])
    return np.random.default_rng([seed, 1]).choice(len(shares), count, p=shares / shares.sum())


def _read(path: Path) -> Floats:
    try:
        arrivals = np.array([float(line) for line in path.read_text().split()])
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no trace: {error}; write the second of each arrival, a line each") from None
    if not len(arrivals) or not np.isfinite(arrivals).all() or (np.diff(arrivals) < 0).any():
        raise InputError(f"{path} is no trace: seconds must be finite and ascend, and there must be one")
    return arrivals


def _figures(found: Simulation, within_s: float) -> dict[str, float | None]:
    p50, p99 = (found.quantile(q) for q in (0.5, 0.99))
    return {
        "goodput": found.goodput(within_s),
        "in_time": float((found.latency_s <= within_s).mean()),
        "refused": float(np.isinf(found.latency_s).mean()),
        "p50_ms": p50 * 1e3 if np.isfinite(p50) else None,
        "p99_ms": p99 * 1e3 if np.isfinite(p99) else None,
        "rows": float(found.rows.mean()),
    }


def _table(rows: dict[str, dict[str, float | None]], within_s: float) -> Table:
    from rich.table import Table

    table = Table(
        "", f"a second within {within_s * 1e3:.3g} ms", "in time", "refused", "p50 ms", "p99 ms", "rows a run"
    )
    for name, each in rows.items():
        latency = ["–" if each[key] is None else f"{each[key]:.3g}" for key in ("p50_ms", "p99_ms")]
        shares = [f"{each[key]:.1%}" for key in ("in_time", "refused")]
        table.add_row(name, f"{each['goodput']:,.0f}", *shares, *latency, f"{each['rows']:.1f}")
    return table
