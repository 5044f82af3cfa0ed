"""Backgrounds for rendered pictures: soft colours, and as many shapes on them as are asked for."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

Size = tuple[int, int]
Colour = tuple[int, ...]


def background(size: Size, shapes: int, random: np.random.Generator) -> Image.Image:
    """Colours that run into each other, under `shapes` bars, discs and polygons."""
    cells = random.integers(2, 5, 2)
    coarse = random.integers(0, 256, 3) + random.normal(0, 12 + 3 * shapes, (*cells, 3))
    picture = Image.fromarray(coarse.clip(0, 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    scatter(picture, shapes, random)
    return picture


def scatter(picture: Image.Image, shapes: int, random: np.random.Generator) -> None:
    """Draw `shapes` of them anywhere on the picture."""
    pencil, side = ImageDraw.Draw(picture), min(picture.size)
    for _ in range(shapes):
        place = random.uniform(0, picture.size)
        reach = side * random.uniform(0.03, 0.2)
        points = [(float(x), float(y)) for x, y in place + random.normal(0, reach, (random.integers(2, 6), 2))]
        fill = colour(random)
        if len(points) == 2:
            pencil.line(points, fill=fill, width=max(1, int(side * random.uniform(0.01, 0.08))))
        elif len(points) == 3:
            pencil.ellipse([*(place - reach), *(place + reach)], fill=fill)
        else:
            pencil.polygon(points, fill=fill)


def colour(random: np.random.Generator) -> Colour:
    return tuple(random.integers(0, 256, 3).tolist())
