"""Where every value of a model holds the batch, and what it is for."""

from etbac.passes.batch.analysis import analyse
from etbac.passes.batch.facts import BatchAnalysis, Fact, Rows
from etbac.passes.batch.inputs import infer_batch_axes

__all__ = ["BatchAnalysis", "Fact", "Rows", "analyse", "infer_batch_axes"]
