"""Where every value of a model holds the batch, and what it is for."""

from etbac.passes.batch.analysis import analyse
from etbac.passes.batch.facts import BatchAnalysis, Fact, Rows

__all__ = ["BatchAnalysis", "Fact", "Rows", "analyse"]
