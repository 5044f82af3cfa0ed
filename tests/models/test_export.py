from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from etbac.errors import UnsupportedModelError
from etbac.models.attach import attach_exits
from etbac.models.export import export_program, output_names
from etbac.models.resnet import cifar_resnet


class FixesTheBatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.last(self.first(x) + torch.ones(3, 4))
        return answer


class SubmoduleOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.last = nn.Linear(8, 4)

    def forward(self, tokens: Tensor, scale: Tensor) -> Tensor:
        answer: Tensor = self.last(self.encoder(tokens).mean(1) * scale)
        return answer


CASES = {
    "resnet": (lambda: cifar_resnet(14, 1, width=4), [1, 4], lambda n: {"image": torch.randn(n, 1, 28, 28)}),
    "two inputs": (
        SubmoduleOutputs,
        ["encoder"],
        lambda n: {"tokens": torch.randn(n, 5, 8), "scale": torch.randn(n, 1)},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_exported_program_gives_the_networks_answers_at_any_batch(case: str) -> None:
    torch.manual_seed(0)
    make, at, inputs = CASES[case]
    network = attach_exits(make(), at=at, example_inputs=inputs(3)).eval()
    program = export_program(network, inputs(3)).module()
    for batch in (1, 2, 5):
        values = inputs(batch)
        expected, found = network(**values), program(*values.values())
        assert list(found) == output_names(network)
        for name, answer in found.items():
            torch.testing.assert_close(answer, expected[name], rtol=1e-5, atol=1e-6)


def test_a_model_that_fixes_the_batch_is_refused() -> None:
    inputs = {"x": torch.randn(3, 4)}
    network = attach_exits(FixesTheBatch(), at=["first"], example_inputs=inputs)
    with pytest.raises(UnsupportedModelError, match="FixesTheBatch"):
        export_program(network, inputs)
