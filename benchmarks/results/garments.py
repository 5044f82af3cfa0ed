"""Fashion-MNIST, as the demo has it."""

from __future__ import annotations

from pathlib import Path

from benchmarks import data
from benchmarks.results.row import Row


def row() -> Row:
    return Row(
        "classification",
        "classification",
        "Fashion-MNIST, ResNet-32",
        link_fashion_mnist,
        ("--model", "resnet32", "--exits", "1,3,5,7,9,12"),
        ("--epochs", "8", "--scales", "0.5,0.75,1,1"),
        ("--epochs", "1", "--scales", "0.5"),
    )


def link_fashion_mnist(folder: Path) -> None:
    for name in data.FASHION_MNIST:
        (folder / name).symlink_to((data.fashion_mnist() / name).absolute())
