"""Where exits go by default: evenly in work, counted in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from etbac.models.capture import evaluating

AUTO_EXITS = 7


def work_of(network: nn.Module, paths: Sequence[str], inputs: Mapping[str, Any]) -> list[int]:
    """Floating-point operations of these modules in one pass (matrix products and convolutions, which torch counts)."""
    with evaluating(network), FlopCounterMode(display=False) as counter:
        network(**inputs)
    counts = counter.get_flop_counts()
    outer = type(network).__name__
    return [sum(counts.get(f"{outer}.{path}", {}).values()) for path in paths]


def evenly(work: Sequence[int]) -> list[int]:
    """Numbers (from 1) of the blocks that get an exit, by each block's work: up to seven, the first among them, evenly
    in work done; never the last, after which the full model answers."""
    before_last = max(len(work) - 1, 1)
    done = np.cumsum(np.maximum(np.asarray(work[:before_last], np.float64), 1e-9))
    wanted = np.linspace(done[0], done[-1], min(AUTO_EXITS, before_last))
    return sorted({1 + int(np.abs(done - each).argmin()) for each in wanted})
