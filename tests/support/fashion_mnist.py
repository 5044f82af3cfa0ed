"""A small data set in Fashion-MNIST's published form: a bright bar whose row is the class, over noise."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

PARTS = {"train": "train", "test": "t10k"}


def write(folder: Path, train: int = 120, test: int = 40, seed: int = 0) -> Path:
    """Write the four files of `train` and `test` pictures into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for part, count in (("train", train), ("test", test)):
        labels = random.integers(0, 10, count).astype(np.uint8)
        images = random.integers(0, 60, (count, 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 + 2 * label : 5 + 2 * label] = 250
        write_idx(folder / f"{PARTS[part]}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{PARTS[part]}-labels-idx1-ubyte.gz", labels)
    return folder


def write_idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.tobytes(), compresslevel=1))
