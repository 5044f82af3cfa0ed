"""What decides who leaves where: thresholds, forced exits, and the switch that turns exits off."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from etbac.contract import FULL_MODEL_ID, Plan
from etbac.errors import InputError, UsageError

Thresholds: TypeAlias = float | Mapping[int, float] | Literal["off"] | None

SWITCH = "ETBAC_EXITS"
NEVER, ALWAYS = math.inf, -math.inf


def resolve(thresholds: Thresholds, exits: tuple[int, ...], plan: Plan | None) -> tuple[float, ...]:
    """The threshold of every exit of the chain, in its order; +inf where nobody leaves.

    One number holds for all exits; of a mapping, exits that it leaves out let nobody leave; None takes the plan's, and
    without a plan nobody leaves; "off" lets nobody leave, and so does ETBAC_EXITS=off whatever is asked for.
    """
    if switched_off():
        return (NEVER,) * len(exits)
    if thresholds is None:
        thresholds = {} if plan is None else {id_: t for id_, t in plan.thresholds.items() if id_ in plan.exits}
    if isinstance(thresholds, str):
        if thresholds != "off":
            raise UsageError(f'threshold {thresholds!r}: give a number, numbers by exit id, or "off"')
        return (NEVER,) * len(exits)
    if not isinstance(thresholds, Mapping):
        return (_number(thresholds),) * len(exits)
    unknown = [exit_id for exit_id in thresholds if exit_id not in exits]
    if unknown:
        raise UsageError(f"there is no exit {unknown[0]} in this chain; {_exits(exits)}")
    return tuple(_number(thresholds.get(exit_id, NEVER)) for exit_id in exits)


def switched_off() -> bool:
    """Whether ETBAC_EXITS=off."""
    value = os.environ.get(SWITCH)
    if not value:
        return False
    if value.lower() != "off":
        raise UsageError(f"{SWITCH}={value}: the only value is off; unset it to let samples leave early")
    return True


def check_forced(exit_at: Any, exits: tuple[int, ...], rows: int) -> npt.NDArray[np.int64]:
    """`exit_at` as int64 [rows]: for each row the id of the exit where it must leave, 0 for the full model."""
    ids = np.asarray(exit_at)
    if ids.shape != (rows,) or ids.dtype.kind not in "iu":
        raise InputError(
            f"exit_at must hold one exit id for each of the {rows} rows; found {ids.dtype} {list(ids.shape)}"
        )
    unknown = set(ids.tolist()).difference(exits, (FULL_MODEL_ID,))
    if unknown:
        raise InputError(
            f"exit_at: there is no exit {min(unknown)} in this chain; {_exits(exits)}, and 0 is the full model"
        )
    return ids.astype(np.int64)


def _number(threshold: Any) -> float:
    try:
        value = float(threshold)
    except (TypeError, ValueError):
        raise UsageError(f'threshold {threshold!r}: give a number, numbers by exit id, or "off"') from None
    if math.isnan(value):
        raise UsageError("a threshold cannot be NaN")
    return value


def _exits(exits: tuple[int, ...]) -> str:
    return f"its exits are {', '.join(map(str, exits))}" if exits else "it has no exits"
