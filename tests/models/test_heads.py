from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from etbac.errors import UnsupportedModelError, UsageError
from etbac.models import heads

sides = st.integers(1, 40)


@given(st.tuples(st.integers(1, 3), sides, sides))
def test_pooling_covers_every_pixel_and_gives_the_size_that_the_head_expects(shape: tuple[int, int, int]) -> None:
    features = torch.ones(2, *shape, requires_grad=True)
    name, options = heads.options_for(None, features, 5, "block")
    head = heads.build(name, {**options, "hidden": 4}).eval()
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
    name, options = heads.options_for(None, features, 3, "block")
    head = heads.build(name, options)
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


def test_features_that_no_head_fits_are_refused_by_module_and_shape() -> None:
    with pytest.raises(UnsupportedModelError, match=r"'block'.*\(2, 3, 4, 5, 6\)"):
        heads.options_for(None, torch.zeros(2, 3, 4, 5, 6), 3, "block")


def test_an_unknown_head_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="pooled-mlp, token-mlp, vector-mlp"):
        heads.build("poetry", {})
