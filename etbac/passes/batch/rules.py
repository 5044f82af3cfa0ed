"""The table of rules: operator type -> where the outputs hold the rows."""

from __future__ import annotations

from collections.abc import Mapping

from etbac.passes.batch import (
    rules_indexing,
    rules_layout,
    rules_linear,
    rules_normalize,
    rules_recurrent,
    rules_reduce,
)
from etbac.passes.batch.operators import ELEMENTWISE
from etbac.passes.batch.rule import Rule

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, rules_layout.elementwise),
    **rules_layout.RULES,
    **rules_reduce.RULES,
    **rules_linear.RULES,
    **rules_indexing.RULES,
    **rules_normalize.RULES,
    **rules_recurrent.RULES,
}
"""Operators of the default domain."""
