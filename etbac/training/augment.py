"""Flips, crops and resizing of pictures in a batch, drawn from a seeded generator."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def flip_and_crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Flip each picture left-right with probability ½ and shift it by up to `padding` pixels: [B, C, H, W] -> the same.

    Pixels that come in from outside repeat the border. Both are drawn for each picture.
    """
    batch, channels, height, width = images.shape
    flips = torch.rand(batch, generator=generator) < 0.5
    images = torch.where(flips[:, None, None, None], images.flip(3), images)
    padded = nn.functional.pad(images, (padding,) * 4, mode="replicate")
    shifts = torch.randint(0, 2 * padding + 1, (2, batch), generator=generator)
    pictures = torch.arange(batch)[:, None, None, None]
    planes = torch.arange(channels)[:, None, None]
    rows = (shifts[0, :, None] + torch.arange(height))[:, None, :, None]
    columns = (shifts[1, :, None] + torch.arange(width))[:, None, None, :]
    return padded[pictures, planes, rows, columns]


def resize(images: Tensor, scale: float) -> Tensor:
    """Resize by `scale`, antialiased: [B, C, H, W] -> [B, C, round(scale·H), round(scale·W)]."""
    if scale == 1:
        return images
    size = [round(side * scale) for side in images.shape[2:]]
    return nn.functional.interpolate(images, size=size, mode="bilinear", antialias=True)
