"""Cityscapes as cityscapesScripts' README lays it out: leftImg8bit/ and gtFine/, by part and city.

Masks hold the ids of its helpers/labels.py: here a sky (23), a road (7), a car (26), and a border that is not counted
(3, out of roi). Real pictures have 2048 × 1024 pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CITIES = {"train": ("aachen", "bochum"), "val": ("frankfurt",)}
IDS = {"sky": 23, "road": 7, "car": 26, "border": 3}
COLOURS = {23: (120, 160, 230), 7: (90, 90, 90), 26: (200, 40, 40), 3: (0, 0, 0)}
TRAIN_IDS = {23: 10, 7: 0, 26: 13, 3: 255}


def write(
    folder: Path,
    train: int = 6,
    val: int = 3,
    size: tuple[int, int] = (128, 64),
    train_ids: bool = False,
    seed: int = 0,
) -> Path:
    """`train` and `val` pictures of each city; masks as labelIds, or as labelTrainIds as the scripts make them."""
    random = np.random.default_rng(seed)
    for part, count in (("train", train), ("val", val)):
        for city in CITIES[part]:
            pictures, masks = (folder / kind / part / city for kind in ("leftImg8bit", "gtFine"))
            pictures.mkdir(parents=True)
            masks.mkdir(parents=True)
            for frame in range(count):
                stem = f"{city}_{frame:06}_000019"
                ids, pixels = scene(size, random)
                Image.fromarray(pixels).save(pictures / f"{stem}_leftImg8bit.png")
                named = np.vectorize(TRAIN_IDS.get)(ids).astype(np.uint8) if train_ids else ids
                kind = "labelTrainIds" if train_ids else "labelIds"
                Image.fromarray(named).save(masks / f"{stem}_gtFine_{kind}.png")
    return folder


def scene(size: tuple[int, int], random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Ids uint8 [h, w] and pixels uint8 [h, w, 3]."""
    width, height = size
    ids = np.full((height, width), IDS["sky"], np.uint8)
    horizon = int(random.integers(height // 3, height // 2))
    ids[horizon:] = IDS["road"]
    left = int(random.integers(0, width - width // 4))
    ids[horizon : horizon + height // 4, left : left + width // 4] = IDS["car"]
    ids[-height // 16 :] = IDS["border"]
    pixels = np.zeros((height, width, 3), np.int64)
    for number, colour in COLOURS.items():
        pixels[ids == number] = colour
    return ids, np.clip(pixels + random.integers(-15, 15, pixels.shape), 0, 255).astype(np.uint8)
