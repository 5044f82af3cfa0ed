"""Continuous rebatching: survivors of different batches run on together."""

from etbac.runtime.rebatching.rebatcher import Rebatcher
from etbac.runtime.rebatching.scheduler import Costs, FullError

__all__ = ["Costs", "FullError", "Rebatcher"]
