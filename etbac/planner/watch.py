"""Running a chain and watching, as it runs, whether what was certified still holds."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from etbac.errors import UsageError
from etbac.metrics import agreement
from etbac.planner.drift import BINS, LEVEL, Audit, Monitor
from etbac.runtime.certificate import standing
from etbac.runtime.chain import Chain
from etbac.runtime.exits import switched_off
from etbac.runtime.results import Result


@dataclass
class Watch:
    """Answers batches with the plan's thresholds, as `Chain.run` does, and keeps count; thread-safe.

        with etbac.load("engines") as chain:
            watch = Watch(chain, audit=0.01)
            result = watch.run({"image": batch})
            if watch.monitor.alarm: ...

    `audit`: the share of samples, drawn at random (by `seed`), that go through the full model too. `on_alarm` is called
    once, with the watch, when the alarm is raised. Raises UsageError where there is nothing to compare with: the plan
    in force was not certified, or not with what runs here.
    """

    chain: Chain
    audit: float = 0.0
    level: float = LEVEL
    seed: int | None = None
    on_alarm: Callable[[Watch], None] = lambda watch: None
    monitor: Monitor = field(init=False)
    audited: Audit = field(init=False, default_factory=Audit)
    leaving: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        plan = self.chain.plan
        reference = None if plan is None or plan.certificate is None else plan.certificate.get("reference")
        if reference is None:
            raise UsageError(
                f"{self.chain.engine_dir.path} has no certified plan to compare samples with; run etbac plan first"
            )
        if len(reference) != len(self.chain.ids) * BINS:
            raise UsageError(
                f"{self.chain.engine_dir.path}: its plan is of another version of etbac, which kept {len(reference)} "
                f"counts of the certify set, not {len(self.chain.ids) * BINS}; run etbac plan again"
            )
        if not 0 <= self.audit <= 1:
            raise UsageError(f"audit {self.audit:g}: give a share of samples between 0 and 1")
        found = standing(self.chain)
        if not found.certified:
            raise UsageError(f"what runs here is not what was certified, whatever the samples: {found.reason}")
        self.monitor = Monitor(reference, self.level, 0 if self.seed is None else self.seed)
        self.leaving = dict.fromkeys(self.chain.ids, 0)
        self._rng = np.random.default_rng(self.seed)
        self._lock = threading.Lock()

    def run(self, inputs: Mapping[str, Any]) -> Result:
        """`Chain.run`, watched but while ETBAC_EXITS=off, which says nothing of the samples."""
        result = self.chain.run(inputs)
        if switched_off():
            return result
        with self._lock:
            chosen = np.flatnonzero(self._rng.random(len(result.exit)) < self.audit)
        agrees = self._agrees(inputs, result, chosen) if len(chosen) else None
        with self._lock:
            before = self.monitor.alarm
            raised = self.monitor.update(result.exit, result.confidence) and not before
            for exit_id, count in zip(*np.unique(result.exit_id, return_counts=True), strict=True):
                self.leaving[int(exit_id)] += int(count)
            if agrees is not None:
                self.audited.update(agrees)
        if raised:
            self.on_alarm(self)
        return result

    def __str__(self) -> str:
        """What is to be said of the samples so far."""
        samples, limit = f"{self.monitor.seen:,} samples", f"{1 / self.monitor.level:g} is the limit"
        evidence = f"{self.monitor.evidence:.3g}"
        if self.monitor.alarm:
            return (
                f"ALARM: these {samples} are not like those of the certify set (evidence {evidence}, {limit}); what "
                "was certified may not hold. Certify again with new data: etbac plan --data"
            )
        return (
            f"no alarm after {samples}: evidence of a change {evidence}, {limit} (a false alarm, ever: "
            f"{self.monitor.level:.1%} at most)"
        )

    def state(self) -> dict[str, Any]:
        """Where it stands, as data: what `resume` takes, and what is to be said."""
        with self._lock:
            audit = self.audited
            return {
                "plan": self._plan_hash(),
                "samples": self.monitor.seen,
                "alarm": self.monitor.alarm,
                "evidence": self.monitor.evidence,
                "level": self.monitor.level,
                "exits": {str(exit_id): count for exit_id, count in self.leaving.items()},
                "audit": {**vars(audit), "bound": audit.bound(self.monitor.level)} if audit.samples else None,
                "monitor": self.monitor.to_json(),
            }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` gave, of the same plan; a UsageError if it was of another, or is damaged."""
        if state.get("plan") != self._plan_hash():
            raise UsageError("this state is of another plan, or none")
        try:
            monitor = Monitor.from_json(state["monitor"])
            leaving = {exit_id: int(state["exits"][str(exit_id)]) for exit_id in self.chain.ids}
            audited = Audit(**{name: int(state["audit"][name]) for name in vars(Audit())} if state["audit"] else {})
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"this state is damaged, or of another version of etbac ({error!r})") from None
        with self._lock:
            self.monitor, self.leaving, self.audited = monitor, leaving, audited

    def _plan_hash(self) -> str:
        assert self.chain.plan is not None
        return hashlib.sha256(json.dumps(self.chain.plan.to_json(), sort_keys=True).encode()).hexdigest()

    def _agrees(self, inputs: Mapping[str, Any], result: Result, chosen: Any) -> Any:
        """bool [chosen]: whether the full model answers as the chain did."""
        axes = {spec.name: spec.batch_axis for spec in self.chain.manifest.inputs}
        rows = {
            name: np.asarray(array) if axes[name] is None else np.take(np.asarray(array), chosen, axes[name])
            for name, array in inputs.items()
        }
        given = result.prediction
        ours = {name: t[chosen] for name, t in given.items()} if isinstance(given, dict) else given[chosen]
        return agreement(ours, self.chain.full(rows))
