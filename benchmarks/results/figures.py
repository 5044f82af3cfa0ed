"""Rendered figures in MPII's published form: where their joints are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.results.rendered import draw, write_json
from benchmarks.results.row import QUICK, Row

SIDE = 144
MOST_SHAPES = 40


def row() -> Row:
    return Row(
        "pose",
        "pose",
        "joints of rendered figures, pose ResNet-18 with deconvolutions of the published width",
        lambda folder: write_figures(folder, *((900, 200) if QUICK else (12_000, 3_000))),
        (
            *("--model", "pose-resnet18", "--model-options", '{"width": 16}', "--learning-rate", "3e-3"),
            *("--preprocess", "height=96", "--preprocess", "width=96", "--mixed-precision", "bf16"),
            *("--exits", "6,7", "--head-options", '{"hidden": 48}', "--distillation", "0.5"),
            *("--exit-batch-size", "32", "--exit-learning-rate", "4e-3"),
        ),
        ("--epochs", "8", "--exit-epochs", "12"),
        ("--epochs", "2", "--exit-epochs", "2"),
        optimize=("--gate", "keypoints:m=12", "--uncertified"),
    )


def write_figures(folder: Path, train: int, valid: int) -> None:
    """So many pictures of one figure each; from hardly any clutter and standing to much of it and contorted."""
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for part, count in (("train", train), ("valid", valid)):
        pictures = []
        for number in range(count):
            name, hard = f"{part}{number:06}.jpg", random.random()
            picture, figures = draw((SIDE, SIDE), 1, random, int(MOST_SHAPES * hard**2), float(hard))
            picture.save(folder / "images" / name, quality=90)
            pictures.append((name, figures))
        write_json(folder, part, pictures, rectangles=True)
