"""Folding inference-time BatchNormalization into the layer before it."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
from onnxscript.rewriter import RewriteRuleSet
from onnxscript.rewriter.rules.common import (
    fuse_batchnorm_into_conv_rule,
    fuse_batchnorm_into_conv_transpose_rule,
    fuse_batchnorm_into_gemm_rule,
)


@dataclass(frozen=True)
class FoldBatchNorm(ir.passes.InPlacePass):
    """Fold a BatchNormalization into the convolution or Gemm that feeds it alone, with onnxscript's rules.

    before:  x ─ Conv(w, b) ─ BatchNormalization(γ, β, μ, σ²) ─> y
    after:   x ─ Conv(w·γ/σ, (b − μ)·γ/σ + β) ─> y

    The backends fuse too, but not across a cut: what is folded before it stays folded. Weights that another node reads
    are left as they are.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        rules = RewriteRuleSet(
            [fuse_batchnorm_into_conv_rule, fuse_batchnorm_into_conv_transpose_rule, fuse_batchnorm_into_gemm_rule]
        )
        return ir.passes.PassResult(model, modified=rules.apply_to_model(model) > 0)
