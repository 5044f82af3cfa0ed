"""Cut a model at its exits into segments that keep the segment contract."""

from etbac.passes.split.split import split_at_exits

__all__ = ["split_at_exits"]
