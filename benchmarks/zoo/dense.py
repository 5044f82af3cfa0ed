"""Exits for models that answer with a map (segmentation, key points): one convolution each, resized to the map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from etbac.models.capture import evaluating, features_at


class DenseExits(nn.Module):
    """A trunk with exits after the modules at `paths`: {"exit_1": [B, C, H, W], …, "prediction": [B, C, H, W]}.

    Features are maps [B, F, h, w], or tokens [B, h·w, F] with `grids[path]` = (h, w).
    """

    def __init__(
        self,
        trunk: nn.Module,
        paths: Sequence[str],
        inputs: Mapping[str, Tensor],
        grids: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:
        super().__init__()
        self.trunk, self.paths, self.grids = trunk, list(paths), dict(grids or {})
        with evaluating(trunk):
            features, prediction = features_at(trunk, self.paths, {name: x[:2] for name, x in inputs.items()})
        channels, *self.size = prediction.shape[1:]
        self.heads = nn.ModuleList(nn.Conv2d(self._map(path, features[path]).shape[1], channels, 1) for path in paths)

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        features, prediction = features_at(self.trunk, self.paths, inputs)
        answers = {
            f"exit_{number}": functional.interpolate(head(self._map(path, features[path])), self.size, mode="bilinear")
            for number, (path, head) in enumerate(zip(self.paths, self.heads, strict=True), start=1)
        }
        return {**answers, "prediction": prediction}

    def _map(self, path: str, features: Tensor) -> Tensor:
        if path not in self.grids:
            return features
        return features.transpose(1, 2).reshape(features.shape[0], -1, *self.grids[path])


class EnsembleExits(nn.Module):
    """Blocks with a linear head each; every answer is the mean of its own logits and those of all heads before."""

    def __init__(self, width: int = 64, depth: int = 5, classes: int = 10) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(width, width), nn.GELU()) for _ in range(depth))
        self.heads = nn.ModuleList(nn.Linear(width, classes) for _ in range(depth))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        logits: list[Tensor] = []
        for block, head in zip(self.blocks, self.heads, strict=True):
            features = features + block(features)
            logits.append(head(features))
        means = [torch.stack(logits[:count]).mean(0) for count in range(1, len(logits) + 1)]
        return {**{f"exit_{i}": mean for i, mean in enumerate(means[:-1], start=1)}, "prediction": means[-1]}
