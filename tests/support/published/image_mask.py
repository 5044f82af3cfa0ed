"""Pictures and masks in two folders: a bright disc (class 1) on a dark ground (class 0), its rim not counted (255)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write(folder: Path, count: int = 20, side: int = 48, seed: int = 0, names: bool = True) -> Path:
    """`count` pictures as .jpg, masks as .png; `names`: with classes.txt."""
    random = np.random.default_rng(seed)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        y, x = np.mgrid[:side, :side] - random.integers(side // 3, 2 * side // 3, 2)[:, None, None]
        far = np.hypot(x, y)
        radius = side / random.integers(4, 7)
        mask = np.where(far < radius, 1, 0)
        pixels = random.integers(0, 60, (side, side, 3)) + 150 * mask[..., None]
        mask[abs(far - radius) < 1] = 255
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / f"scan-{number:03}.jpg")
        Image.fromarray(mask.astype(np.uint8)).save(folder / "masks" / f"scan-{number:03}.png")
    if names:
        (folder / "classes.txt").write_text("ground\ndisc\n")
    return folder
