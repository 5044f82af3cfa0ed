"""Normalisation, attention and quantisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from etbac.passes.batch.facts import Rows
from etbac.passes.batch.rule import Op, RowsMixError, Rule
from etbac.passes.batch.rules_layout import batch_first
from etbac.passes.batch.rules_reduce import ACROSS


def trailing(op: Op) -> Sequence[Rows | None]:
    """LayerNormalization, RMSNormalization: all axes from `axis` on are normalised together."""
    rank = op.rank(0)
    op.forbid(0, range(op.axis("axis", rank, -1), rank), ACROSS)
    op.no_rows(range(1, len(op.inputs)), "its scale differs between the rows of the batch")
    return [op.rows(0)] * len(op.out_shapes)


def per_sample(op: Op) -> Sequence[Rows | None]:
    """GroupNormalization, InstanceNormalization, BatchNormalization in inference: rows on axis 0."""
    if op.attr("training_mode", 0):
        raise RowsMixError(
            "it is in training mode, where its statistics are of the whole batch; export the model in eval mode"
        )
    op.no_rows(range(1, len(op.inputs)), "its statistics come from the batch itself (track_running_stats=False?)")
    return [batch_first(op)[0], *[None] * (len(op.out_shapes) - 1)]


def mean_variance(op: Op) -> Sequence[Rows | None]:
    rank = op.rank(0)
    op.forbid(0, [axis % rank for axis in op.attr("axes", [0, 2, 3])], ACROSS)
    return [op.rows(0)]


def dropout(op: Op) -> Sequence[Rows | None]:
    """In inference it is the identity (training mode is refused before)."""
    return [op.rows(0)] * len(op.out_shapes)


def attention(op: Op) -> Sequence[Rows | None]:
    """Q, K, V and the cache [B, …]; a mask is aligned from the right with [B, heads, queries, keys]."""
    mask = op.rows(3)
    if mask is not None:
        mask = mask.at(mask.axis + 4 - op.rank(3))
        if mask.axis != 0:
            raise RowsMixError("its mask has the batch on another axis")
    others = [op.rows(index) for index in range(len(op.inputs)) if index != 3]
    if any(rows is not None and rows.axis != 0 for rows in others):
        raise RowsMixError("it expects the batch on axis 0")
    return [op.join([*others, mask])] * len(op.out_shapes)


def quantize(op: Op) -> Sequence[Rows | None]:
    """Scale and zero point must be of the model, not of the data."""
    op.no_rows([1, 2], "its scale differs between the rows of the batch")
    return [op.rows(0)]


def dynamic_quantize(op: Op) -> Sequence[Rows | None]:
    raise RowsMixError("it takes one scale from the whole batch; quantise statically instead")


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), trailing),
    **dict.fromkeys(("GroupNormalization", "InstanceNormalization", "BatchNormalization", "LRN"), per_sample),
    "MeanVarianceNormalization": mean_variance,
    "Dropout": dropout,
    "Attention": attention,
    "RotaryEmbedding": batch_first,
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), quantize),
    "DynamicQuantizeLinear": dynamic_quantize,
}
