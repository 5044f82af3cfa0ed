from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from etbac.errors import UsageError
from etbac.models import heads

sides = st.integers(1, 40)


@given(st.tuples(st.integers(1, 3), sides, sides))
def test_pooling_covers_every_pixel_and_gives_the_size_that_the_head_expects(shape: tuple[int, int, int]) -> None:
    features = torch.ones(2, *shape, requires_grad=True)
    options = heads.options_for("pooled-mlp", features, torch.zeros(2, 5), "block")
    head = heads.build("pooled-mlp", {**options, "hidden": 4}).eval()
    pooled = head.pool(features)
    pooled.sum().backward()
    assert pooled.shape == (2, options["in_features"])
    torch.testing.assert_close(pooled, torch.ones_like(pooled))
    assert features.grad is not None
    assert (features.grad > 0).all()
    assert head(features).shape == (2, 5)


@pytest.mark.parametrize("shape", [(2, 6), (2, 7, 6), (2, 6, 8, 8)])
def test_folding_the_norm_keeps_the_answers(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    features = torch.randn(8, *shape[1:])
    name = heads.by_rank(features, "block")
    head = heads.build(name, heads.options_for(name, features, torch.zeros(8, 3), "block"))
    for _ in range(3):
        head.train()(features * 3 + 1)
    before = head.eval()(features)
    head.fold_norm()
    assert not any(isinstance(module, torch.nn.BatchNorm1d) for module in head.modules())
    torch.testing.assert_close(head(features), before, rtol=1e-4, atol=1e-5)


def test_a_token_head_reads_the_mean_or_the_first_token() -> None:
    tokens = torch.randn(2, 5, 6)
    mean, first = (
        heads.build("token-mlp", {"in_features": 6, "num_classes": 3, "tokens": t}) for t in ("mean", "first")
    )
    torch.testing.assert_close(mean.pool(tokens), tokens.mean(1))
    torch.testing.assert_close(first.pool(tokens), tokens[:, 0])
    with pytest.raises(UsageError, match="'last'"):
        heads.build("token-mlp", {"in_features": 6, "num_classes": 3, "tokens": "last"})


def test_a_mean_over_tokens_leaves_padding_out() -> None:
    tokens = torch.randn(2, 5, 6)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    options = {"in_features": 6, "num_classes": 3, "mask": "attention_mask"}
    head = heads.build("token-mlp", options).eval()
    assert head.reads == ("attention_mask",)
    expected = torch.stack([tokens[0, :3].mean(0), tokens[1].mean(0)])
    torch.testing.assert_close(head.pool(tokens, attention_mask=mask), expected)
    changed = torch.where(mask.unsqueeze(-1) == 1, tokens, torch.full_like(tokens, 99.0))
    torch.testing.assert_close(head(changed, attention_mask=mask), head(tokens, attention_mask=mask))
    assert heads.build("token-mlp", {**options, "tokens": "first"}).reads == ()


def test_tokens_that_are_all_padding_give_no_nan() -> None:
    head = heads.build("token-mlp", {"in_features": 6, "num_classes": 3, "mask": "attention_mask"})
    assert head.pool(torch.randn(1, 4, 6), attention_mask=torch.zeros(1, 4)).isfinite().all()


def test_a_scored_head_gives_a_confidence_beside_its_prediction() -> None:
    head = heads.build("vector-mlp", {"in_features": 6, "num_classes": 1, "scored": True}).eval()
    answer = head(torch.randn(4, 6))
    fields = head.fields(answer)
    assert {name: tuple(value.shape) for name, value in fields.items()} == {"prediction": (4, 1), "confidence": (4, 1)}
    torch.testing.assert_close(torch.cat([fields["prediction"], fields["confidence"]], 1), answer)
