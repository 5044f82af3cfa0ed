"""State dicts as files, and networks whose weights nobody would draw twice."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn


def saved(state: dict[str, Tensor], folder: Path) -> Path:
    torch.save(state, folder / "weights.pth")
    return folder / "weights.pth"


def shaken(network: nn.Module) -> nn.Module:
    """The network with statistics and weights that nobody would draw twice."""
    generator = torch.Generator().manual_seed(7)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.2 + 0.05)
    return network.eval()


def randomised(network: nn.Module) -> nn.Module:
    torch.manual_seed(3)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.4)
    return network.eval()


def require_same(first: nn.Module, second: nn.Module, image: Tensor) -> None:
    with torch.no_grad():
        one, other = first(image), second(image)
    one, other = (getattr(answer, "logits", answer) for answer in (one, other))
    assert one.std() > 0
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
