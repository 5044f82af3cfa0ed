from __future__ import annotations

import pytest
import torch

from etbac.errors import UnsupportedModelError, UsageError
from etbac.models import heads

LOGITS, MAPS = torch.zeros(2, 3), torch.zeros(2, 3, 8, 8)


def test_features_that_no_head_fits_are_refused_by_module_and_shape() -> None:
    with pytest.raises(UnsupportedModelError, match=r"'block'.*\(2, 3, 4, 5, 6\)"):
        heads.by_rank(torch.zeros(2, 3, 4, 5, 6), "block")


def test_an_unknown_head_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="pooled-mlp, token-mlp, vector-mlp, conv-pose, conv-segmentation"):
        heads.build("poetry", {})


@pytest.mark.parametrize(
    ("name", "features", "prediction"),
    [
        ("pooled-mlp", (2, 4, 8), LOGITS),
        ("token-mlp", (2, 4, 8, 8), LOGITS),
        ("vector-mlp", (2, 4), MAPS),
        ("conv-pose", (2, 4), MAPS),
        ("conv-pose", (2, 4, 8, 8), LOGITS),
        ("conv-segmentation", (2, 15, 4), MAPS),
    ],
)
def test_a_head_that_does_not_fit_is_refused(name: str, features: tuple[int, ...], prediction: torch.Tensor) -> None:
    with pytest.raises(UsageError, match=f"'{name}' does not fit module 'block'"):
        heads.options_for(name, torch.zeros(features), prediction, "block")


@pytest.mark.parametrize("name", heads.names())
def test_every_head_answers_like_the_full_model_and_can_be_folded(name: str) -> None:
    torch.manual_seed(0)
    features, prediction = {
        "pooled-mlp": (torch.randn(6, 5, 9, 9), LOGITS),
        "token-mlp": (torch.randn(6, 7, 5), LOGITS),
        "vector-mlp": (torch.randn(6, 5), LOGITS),
        "conv-pose": (torch.randn(6, 5, 2, 2), MAPS),
        "conv-segmentation": (torch.randn(6, 5, 4, 4), MAPS),
    }[name]
    options = heads.options_for(name, features, prediction, "block")
    head = heads.build(name, options)
    for _ in range(3):
        head.train()(features * 3 + 1)
    before = head.eval()(features)
    assert before.shape[1:] == prediction.shape[1:]
    torch.testing.assert_close(head.classify(head.pool(features)), before)
    head.fold_norm()
    assert not any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in head.modules())
    torch.testing.assert_close(head(features), before, rtol=1e-4, atol=1e-5)
    again = heads.build(name, {**options, "norm": False}).eval()
    again.load_state_dict(head.state_dict())
    torch.testing.assert_close(again(features), before, rtol=1e-4, atol=1e-5)
