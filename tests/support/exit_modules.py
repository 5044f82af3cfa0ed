"""Torch modules with exits of their own, and factories that make them, named as support.exit_modules:build."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """image [B, 1, 8, 8] -> exit_1, exit_2, exit_3 and logits, [B, 5] each; batch norms of its own."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.stem = nn.Conv2d(1, 6, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)) for _ in range(4))
        self.heads = nn.ModuleList(nn.Linear(6, 5) for _ in range(4))
        for parameter in self.state_dict().values():
            if parameter.is_floating_point():
                parameter.copy_(torch.rand(parameter.shape, generator=generator) * 0.5 + 0.1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        features, answers = self.stem(image), []
        for block, head in zip(self.blocks, self.heads, strict=True):
            features = torch.relu(features + block(features))
            answers.append(head(features.mean(dim=(2, 3))))
        return {"exit_1": answers[0], "exit_2": answers[1], "exit_3": answers[2], "logits": answers[3]}


class FixedBatch(nn.Module):
    """A module that works at batch 2 alone."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"exit_1": x.reshape(2, 3) + 1, "logits": x.reshape(2, 3)}


def build() -> nn.Module:
    return Residual().eval()


def left_in_training() -> nn.Module:
    return Residual()


def dropout_left_in_training() -> nn.Module:
    network = nn.Sequential(nn.Linear(3, 3), nn.Dropout()).eval()
    network[1].train()
    return network


def fixed_batch() -> nn.Module:
    return FixedBatch().eval()


def without_exits() -> nn.Module:
    return nn.Identity().eval()


def not_a_module() -> int:
    return 3
