"""Fashion-MNIST, as the demo has it."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

from benchmarks import data
from benchmarks.results.row import QUICK, Row


def row() -> Row:
    return Row(
        "classification",
        "classification",
        "Fashion-MNIST, ResNet-32",
        lambda folder: write_garments(folder, 8_000 if QUICK else 60_000),
        ("--model", "resnet32", "--exits", "1,3,5,7,9,12"),
        ("--epochs", "8", "--scales", "0.5,0.75,1,1"),
        ("--epochs", "1", "--scales", "0.5"),
    )


def write_garments(folder: Path, count: int) -> None:
    """The first `count` pictures of each part, in the published form."""
    source = data.fashion_mnist()
    for name in data.FASHION_MNIST:
        shorten(source / name, folder / name, count)


def shorten(source: Path, target: Path, count: int) -> None:
    """The first `count` of an IDX file."""
    content = gzip.decompress(source.read_bytes())
    rank = content[3]
    n, *shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
    kept = min(count, n)
    values = content[4 + 4 * rank :][: kept * int(np.prod(shape))]
    target.write_bytes(gzip.compress(content[:4] + struct.pack(f">{rank}I", kept, *shape) + values, 1))
