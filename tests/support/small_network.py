"""A small residual network with exits 1 and 2, for the tests that need a whole compilation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from etbac.models.attach import ExitNetwork, attach_exits

WIDTH, CLASSES = 8, 4
PATHS = ("blocks.0", "blocks.1")


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.norm(self.conv(x)))


class Trunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, WIDTH, 3, padding=1)
        self.blocks = nn.Sequential(Block(), Block(), Block())
        self.last = nn.Linear(WIDTH, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        answer: Tensor = self.last(self.blocks(self.stem(image)).mean((2, 3)))
        return answer


def make_network(seed: int = 0) -> ExitNetwork:
    torch.manual_seed(seed)
    return attach_exits(Trunk(), at=list(PATHS), example_inputs={"image": torch.randn(2, 1, 8, 8)}).eval()


def make_images(rows: int, seed: int = 0) -> dict[str, npt.NDArray[np.float32]]:
    return {"image": np.random.default_rng(seed).standard_normal((rows, 1, 8, 8)).astype(np.float32)}


def torch_answers(network: ExitNetwork, inputs: dict[str, Any]) -> dict[int, npt.NDArray[np.float32]]:
    """Logits by exit id, the full model's under 0."""
    with torch.inference_mode():
        found = network(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    return {0 if name == "prediction" else int(name.removeprefix("exit_")): a.numpy() for name, a in found.items()}
