"""Cut a model at its exits into segments that keep the segment contract."""

from etbac.passes.split.explain import BoundaryReport, CarriedTensor, explain, naive_boundary_bytes
from etbac.passes.split.split import split_at_exits

__all__ = ["BoundaryReport", "CarriedTensor", "explain", "naive_boundary_bytes", "split_at_exits"]
