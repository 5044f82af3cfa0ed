"""Whether a plan's certificate speaks for a chain as it runs here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from etbac.contract import Plan
from etbac.runtime.chain import Chain
from etbac.runtime.exits import Thresholds, switched_off


@dataclass(frozen=True)
class Standing:
    """`certified`, or the `reason` why not; `precision` is the plan's, None without one."""

    certified: bool
    reason: str | None
    precision: float | None


def standing(chain: Chain, thresholds: Thresholds = None) -> Standing:
    """What the plan in force certifies of runs with these thresholds (None: the plan's)."""
    plan = chain.plan
    if plan is None:
        return Standing(False, "there is no plan", None)
    return Standing(*_judge(chain, plan, thresholds), plan.precision)


def _judge(chain: Chain, plan: Plan, thresholds: Thresholds) -> tuple[bool, str | None]:
    if switched_off():
        return False, "ETBAC_EXITS=off: every sample takes the whole chain"
    if thresholds is not None:
        return False, "the thresholds are not the plan's"
    if not plan.certified or plan.certificate is None:
        return False, plan.reason or "the plan was not certified"
    for what, here in made_with(chain).items():
        if plan.certificate.get(what) != here:
            return (
                False,
                f"the plan was certified with other {what}: {_text(plan.certificate.get(what))}, here {_text(here)}",
            )
    return True, None


def made_with(chain: Chain) -> dict[str, Any]:
    """What a certificate holds for: of a chain made with anything else it says nothing."""
    return {
        "segments": list(chain.sources),
        "backends": [engine.backend for engine in chain.selection.engines],
        "backend": chain.backend,
        "device": chain.device,
        "dtype": chain.dtype,
    }


def _text(value: Any) -> str:
    """Of hashes the beginnings."""
    return ", ".join(item[:8] if len(item) == 64 else item for item in value) if isinstance(value, list) else str(value)
