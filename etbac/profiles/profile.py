"""A profile: the inference time matrix with all that was measured, as an object, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from etbac.profiles.matrix import Floats, Matrix
from etbac.profiles.sizes import Point, points
from etbac.profiles.timer import Timing

SCHEMA_VERSION = 1
AT_FIRST, EVENLY, AS_PLANNED = "at first", "evenly", "as planned"
NOISY = 0.10
"""Spread of a typical timing from which a machine's figures are not to be trusted."""


@dataclass(frozen=True)
class Row:
    """One engine at every point: a segment that ends at `exit_id` (0 for the last), a piece of one, or the full model.
    `timings` are of runs between those of all other engines and points; `steady_ms` of runs one after the other.
    """

    engine: str
    exit_id: int
    timings: tuple[Timing, ...]
    steady_ms: tuple[float, ...] = ()


@dataclass(frozen=True)
class ChainTiming:
    """The whole chain at one point. `exits` says how rows left ("at first", "evenly", "as planned"); `sizes` are the
    rows that each stage ran; `matrix_ms` is the sum of the engines' medians at those sizes."""

    exits: str
    batch: int
    sizes: tuple[int, ...]
    timing: Timing
    matrix_ms: float
    length: int | None = None

    @property
    def point(self) -> Point:
        return Point(self.batch, self.length)

    @property
    def beyond_ms(self) -> float:
        """What the batch costs beyond its engines; never less than nothing."""
        return max(0.0, self.timing.median_ms - self.matrix_ms)

    @property
    def ratio(self) -> float:
        """Chain ÷ Σ matrix: what running the engines together costs beyond each of them alone."""
        return self.timing.median_ms / self.matrix_ms


@dataclass(frozen=True)
class Profile:
    """Measured latency of one chain on one machine, at every batch size and, where another dimension of the inputs is
    dynamic, every length.

    `segments` and `full` are the SHA-256 of the files measured; `rows` the segments in the order of the chain, then the
    full model; `pieces` the segments without their heads (`trunk-NN`), and the gathers at their beginnings
    (`gather-NN`); `machine` as `device.describe` gives it. `beside`: the portable fp32 segments, measured in the same
    rounds, where the chain is in another format.
    """

    backend: str
    device: str
    dtype: str
    segments: tuple[str, ...]
    full: str
    machine: Mapping[str, Any]
    batch_sizes: tuple[int, ...]
    rows: tuple[Row, ...]
    chain: tuple[ChainTiming, ...]
    seconds: float
    beside: tuple[Row, ...] = ()
    pieces: tuple[Row, ...] = ()
    lengths: tuple[int, ...] = ()

    @property
    def points(self) -> list[Point]:
        """What the timings of a row are of, in their order."""
        return points(self.batch_sizes, self.lengths)

    @property
    def switching(self) -> float:
        """What an engine's latency is when others run in between ÷ when it runs again and again: the typical one."""
        pairs = [(t.median_ms, s) for row in self.rows for t, s in zip(row.timings, row.steady_ms, strict=False)]
        return float(np.median([between / alone for between, alone in pairs])) if pairs else 1.0

    @property
    def slower(self) -> list[str]:
        """A sentence for each segment that is slower than its fp32 source somewhere."""
        sentences = []
        for row, other in zip(self.rows, self.beside, strict=False):
            ratios = [a.median_ms / b.median_ms for a, b in zip(row.timings, other.timings, strict=True)]
            worst = int(np.argmax(ratios))
            if ratios[worst] > 1:
                sentences.append(
                    f"{row.engine} is slower than in fp32: {ratios[worst]:.2f} times its latency at "
                    f"{self.points[worst]}, {np.median(ratios):.2f} in the middle of all sizes"
                )
        return sentences

    @property
    def name(self) -> str:
        """What it is of: the name of its engines, and of plans made with it."""
        return f"{self.backend}-{self.device}-{self.dtype}"

    @property
    def file(self) -> str:
        """As in the names of its files: profiles of several machines stand side by side."""
        return f"{self.name}-{self.machine['id']}"

    @property
    def matrix(self) -> Matrix:
        """The medians; of several lengths, at the largest."""
        return self.matrix_at(max(self.lengths, default=None))

    def matrix_at(self, length: int | None) -> Matrix:
        """The medians at one length (None where none is dynamic): linear between the lengths measured; those of the
        smallest below it and, beyond the largest, in proportion to the length. Single runs, and what a batch costs
        beyond its engines, are those of the nearest."""
        medians = np.array([self._at(length, row) for row in self.rows])
        stages, pieces = medians[:-1], {row.engine: self._at(length, row) for row in self.pieces}
        names = [row.engine.split()[0].removeprefix("segment") for row in self.rows[:-1]]
        trunks = [pieces.get(f"trunk{name}", stage) for name, stage in zip(names, stages, strict=True)]
        gathers = [pieces.get(f"gather{name}", np.zeros(len(self.batch_sizes))) for name in names]
        ids = tuple(row.exit_id for row in self.rows[:-1])
        heads = np.maximum(stages - trunks, 0.0)
        nearest = min(self.lengths, key=lambda each: abs(each - (length or each)), default=None)
        near = [place for place, point in enumerate(self.points) if point.length == nearest]
        runs = np.array([[row.timings[place].runs for place in near] for row in self.rows])
        entry_ms, step_ms = self._beyond_engines(nearest)
        return Matrix(
            stages=ids,
            batch_sizes=self.batch_sizes,
            stage_ms=stages,
            full_ms=medians[-1],
            head_ms=heads if pieces else None,
            cut_ms=_cuts(stages - heads, np.array(gathers), medians[-1]) if pieces else None,
            entry_ms=entry_ms,
            step_ms=step_ms,
            runs=runs[:-1],
            full_runs=runs[-1],
            noise=self.noise,
        )

    def _beyond_engines(self, length: int | None) -> tuple[Floats | None, Floats | None]:
        """Milliseconds [sizes] that a batch costs beyond its engines: with the first stage alone, and each one more."""
        ways = {(each.exits, each.batch): each for each in self.chain if each.length == length}
        first = [ways.get((AT_FIRST, size)) for size in self.batch_sizes]
        evenly = [ways.get((EVENLY, size)) for size in self.batch_sizes]
        if not all(first) or not all(evenly):
            return None, None
        entry = np.array([each.beyond_ms for each in first if each])
        steps = [(each.beyond_ms, max(1, np.count_nonzero(each.sizes) - 1)) for each in evenly if each]
        step = [max(0.0, beyond - first) / more for (beyond, more), first in zip(steps, entry, strict=True)]
        return entry, np.array(step)

    def _at(self, length: int | None, row: Row) -> Floats:
        """[batch sizes]: a row's medians at one length."""
        medians: Floats = np.array([timing.median_ms for timing in row.timings], np.float64)
        if length is None:
            return medians
        last, columns = self.lengths[-1], medians.reshape(len(self.lengths), -1).T
        inside: Floats = np.array([np.interp(min(length, last), self.lengths, column) for column in columns])
        return inside * (max(length, last) / last)

    @property
    def noise(self) -> float:
        """Spread of the typical (median) engine timing."""
        return float(np.median([timing.spread for row in self.rows for timing in row.timings]))

    @property
    def warning(self) -> str | None:
        """A sentence where the machine was too noisy for the figures to be trusted."""
        if self.noise <= NOISY:
            return None
        return (
            f"this machine is too noisy to trust these figures: the middle half of a typical engine's timings spreads "
            f"over {self.noise:.0%} of their median ({NOISY:.0%} is the limit); end other work and run "
            "etbac profile again"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA_VERSION,
            "backend": self.backend,
            "device": self.device,
            "dtype": self.dtype,
            "segments": list(self.segments),
            "full": self.full,
            "machine": dict(self.machine),
            "batch_sizes": list(self.batch_sizes),
            "lengths": list(self.lengths),
            "engines": [_row_to_json(row, self.points) for row in self.rows],
            "beside": [_row_to_json(row, self.points) for row in self.beside],
            "pieces": [_row_to_json(row, self.points) for row in self.pieces],
            "chain": [
                {
                    "exits": each.exits,
                    "batch": each.batch,
                    "length": each.length,
                    "sizes": list(each.sizes),
                    **_finite(each.timing),
                    "matrix_ms": each.matrix_ms,
                    "ratio": each.ratio,
                }
                for each in self.chain
            ],
            "noise": self.noise,
            "seconds": self.seconds,
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Profile:
        return Profile(
            backend=data["backend"],
            device=data["device"],
            dtype=data["dtype"],
            segments=tuple(data["segments"]),
            full=data["full"],
            machine=data["machine"],
            batch_sizes=tuple(data["batch_sizes"]),
            lengths=tuple(data["lengths"]),
            rows=tuple(map(_row_from_json, data["engines"])),
            beside=tuple(map(_row_from_json, data["beside"])),
            pieces=tuple(map(_row_from_json, data["pieces"])),
            chain=tuple(map(_chain_from_json, data["chain"])),
            seconds=data["seconds"],
        )

    def to_json_text(self) -> str:
        return json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n"

    def to_csv_text(self) -> str:
        """One line per engine and point, then the chain's; the column of lengths where there are any."""
        text = io.StringIO()
        fields = [name for name in Timing.__dataclass_fields__ if name != "samples"]
        out = csv.writer(text, lineterminator="\n")
        columns = 2 if self.lengths else 1
        out.writerow(["engine", "exit_id", *Point._fields[:columns], *fields])
        for row in (*self.rows, *self.beside, *self.pieces):
            for point, timing in zip(self.points, row.timings, strict=True):
                out.writerow([row.engine, row.exit_id, *point[:columns], *_figures(timing, fields)])
        for each in self.chain:
            out.writerow([f"chain, exits {each.exits}", "", *each.point[:columns], *_figures(each.timing, fields)])
        return text.getvalue()


def _cuts(trunks: Floats, gathers: Floats, full: Floats) -> Floats:
    """[stages, sizes]: what it costs a stage to begin behind an exit: its gather, and an even share of what all take
    longer than the full model besides, if it takes so long."""
    besides = np.maximum((trunks - gathers).sum(axis=0) - full, 0.0)
    shares = gathers + besides / max(1, len(gathers) - 1)
    return np.concatenate([gathers[:1], np.minimum(shares, trunks)[1:]])


def _row_to_json(row: Row, points: Sequence[Point]) -> dict[str, Any]:
    timings = [{**point._asdict(), **_finite(timing)} for point, timing in zip(points, row.timings, strict=True)]
    return {"engine": row.engine, "exit_id": row.exit_id, "timings": timings, "steady_ms": list(row.steady_ms)}


def _row_from_json(data: Mapping[str, Any]) -> Row:
    return Row(data["engine"], data["exit_id"], tuple(map(_timing, data["timings"])), tuple(data["steady_ms"]))


def _chain_from_json(data: Mapping[str, Any]) -> ChainTiming:
    sizes, timing = tuple(data["sizes"]), _timing(data)
    return ChainTiming(data["exits"], data["batch"], sizes, timing, data["matrix_ms"], data["length"])


def _figures(timing: Timing, fields: Sequence[str]) -> list[Any]:
    finite = _finite(timing)
    return [finite[name] for name in fields]


def _finite(timing: Timing) -> dict[str, Any]:
    """JSON has no infinity: an unbounded error is None."""
    return {**asdict(timing), "error": timing.error if np.isfinite(timing.error) else None}


def _timing(data: Mapping[str, Any]) -> Timing:
    values = {name: data[name] for name in Timing.__dataclass_fields__}
    error = np.inf if values["error"] is None else values["error"]
    return Timing(**{**values, "error": error, "samples": tuple(values["samples"])})
