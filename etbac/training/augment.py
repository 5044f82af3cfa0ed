"""Pictures changed at random and resized, a batch at a time."""

from __future__ import annotations

from functools import lru_cache

from torch import Tensor, nn


def flip_and_crop(images: Tensor, padding: int) -> Tensor:
    """Flip each picture left-right with probability ½ and shift it by up to `padding` pixels: [B, C, H, W] -> the same.

    Pixels that come in from outside repeat the border. Both are drawn for each picture, from torch's seed.
    """
    changed: Tensor = _changes(padding, images.shape[2], images.shape[3])(images)
    return changed


@lru_cache
def _changes(padding: int, height: int, width: int) -> nn.Module:
    from kornia.augmentation import RandomCrop, RandomHorizontalFlip

    return nn.Sequential(RandomHorizontalFlip(), RandomCrop((height, width), padding, padding_mode="replicate"))


def resize(images: Tensor, scale: float) -> Tensor:
    """Resize by `scale`, antialiased: [B, C, H, W] -> [B, C, round(scale·H), round(scale·W)]."""
    if scale == 1:
        return images
    size = [round(side * scale) for side in images.shape[2:]]
    return nn.functional.interpolate(images, size=size, mode="bilinear", antialias=True)
