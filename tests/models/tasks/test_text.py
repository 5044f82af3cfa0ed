from __future__ import annotations

import pytest
import torch

from etbac.models import heads, tasks

TEXT = tasks.get("text")


@pytest.mark.parametrize("shape", [(4, 6), (4, 5, 6)])
def test_heads_of_numbers_say_how_sure_they_are(shape: tuple[int, ...]) -> None:
    features = torch.randn(shape)
    name, options = TEXT.head_for(features, torch.zeros(4, 1), "block")
    head = heads.build(name, options).eval()
    assert set(head.fields(head(features))) == {"prediction", "confidence"}
    assert TEXT.gate_for(("batch", 1)) == "learned"
    assert TEXT.gate_for(("batch", 2)) is None


def test_the_confidence_is_minus_the_expected_error_and_does_not_move_the_number() -> None:
    number = torch.tensor([[1.0], [3.0]], requires_grad=True)
    confidence = torch.tensor([[-0.5], [-2.0]], requires_grad=True)
    targets = torch.tensor([1.5, 1.0])
    loss = TEXT.loss(torch.cat([number, confidence], 1), targets)
    torch.testing.assert_close(loss, torch.tensor((0.25 + 4.0) / 2))
    loss.backward()
    torch.testing.assert_close(number.grad, torch.tensor([[-0.5], [2.0]]))
    torch.testing.assert_close(confidence.grad, torch.zeros(2, 1))


def test_a_number_without_a_scorer_has_the_squared_error_alone() -> None:
    loss = TEXT.loss(torch.tensor([[1.0], [3.0]]), torch.tensor([1.5, 1.0]))
    torch.testing.assert_close(loss, torch.tensor((0.25 + 4.0) / 2))


def test_a_scorer_learns_where_its_number_is_wrong() -> None:
    torch.manual_seed(0)
    x = torch.rand(400, 1) * 2 - 1
    targets = torch.where(x[:, 0] > 0, torch.randn(400) * 2, torch.zeros(400))
    head = heads.build("vector-mlp", {"in_features": 1, "num_classes": 1, "scored": True, "hidden": 16, "dropout": 0.0})
    optimizer = torch.optim.Adam(head.parameters(), 0.02)
    for _ in range(150):
        optimizer.zero_grad()
        TEXT.loss(head.train()(x), targets).backward()
        optimizer.step()
    confidence = head.eval().fields(head(x))["confidence"][:, 0]
    assert confidence[x[:, 0] < -0.2].mean() > confidence[x[:, 0] > 0.2].mean() + 0.5
