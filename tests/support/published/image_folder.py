"""ImageNet's layout: train/<WordNet id>/<WordNet id>_<number>.JPEG, val/<WordNet id>/ILSVRC2012_val_<number>.JPEG.

As the development kit's readme (ILSVRC2012) names the files and the usual scripts unpack them. Pictures have different
sizes, and one of each class is grey, as some of ImageNet are; the colour says the class.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("n01440764", "n01443537", "n02123045")
COLOURS = ((220, 60, 60), (60, 220, 60), (60, 60, 220))


def write(folder: Path, train: int = 12, val: int = 4, side: int = 40, seed: int = 0) -> Path:
    """`train` and `val` pictures of each of three classes."""
    random = np.random.default_rng(seed)
    number = 0
    for part, count in (("train", train), ("val", val)):
        for name, colour in zip(CLASSES, COLOURS, strict=True):
            where = folder / part / name
            where.mkdir(parents=True, exist_ok=True)
            for place in range(count):
                number += 1
                size = (side + int(random.integers(0, 20)), side + int(random.integers(0, 20)))
                noise = random.integers(-30, 30, (size[1], size[0], 3))
                picture = Image.fromarray(np.clip(noise + colour, 0, 255).astype(np.uint8))
                file = f"{name}_{number}.JPEG" if part == "train" else f"ILSVRC2012_val_{number:08}.JPEG"
                (picture.convert("L") if place == count - 1 else picture).save(where / file, "JPEG")
    return folder
