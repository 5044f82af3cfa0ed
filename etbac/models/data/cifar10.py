"""CIFAR-10: 50,000 and 10,000 colour pictures, 32 × 32 pixels, 10 classes, as pickles for Python or as binary files.

Source: Krizhevsky 2009; the forms are described at https://www.cs.toronto.edu/~kriz/cifar.html. A pickle of the Python
form holds a dictionary with `data` uint8 [N, 3072] (red, green, blue planes) and `labels`; it is read by an unpickler
that makes such dictionaries alone, so that a file that would run code is refused. A record of the binary form is the
label in a byte and the 3072 bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError
from etbac.models.data.loader import Opened, of_kind
from etbac.models.data.parts import ArrayPart
from etbac.models.data.plain_pickle import read_pickle
from etbac.models.data.trees import refuse
from etbac.preprocessing import ImagePreprocessing, Preprocessing

Arrays = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PREPROCESSING = ImagePreprocessing(
    "image", 32, 32, 3, 1 / 255, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)
)
PIXELS = 3 * 32 * 32
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TREE = """
cifar-10-batches-py/                the Python version of cifar-10-python.tar.gz, or
  data_batch_1 … data_batch_5
  test_batch
cifar-10-batches-bin/               the binary version of cifar-10-binary.tar.gz
  data_batch_1.bin … data_batch_5.bin
  test_batch.bin
"""


@dataclass(frozen=True)
class Cifar10:
    """The loader `cifar10`: the folder of the batches, or the one that it lies in."""

    name: ClassVar[str] = "cifar10"
    task: ClassVar[str] = "classification"

    def check(self, folder: Path) -> None:
        if _find(folder) is None:
            refuse(folder, "CIFAR-10 as published", TREE, "data_batch_1 to 5 and test_batch")

    def open(self, folder: Path, preprocessing: Preprocessing | None = None) -> Opened:
        found = _find(folder)
        if found is None:
            refuse(folder, "CIFAR-10 as published", TREE, "data_batch_1 to 5 and test_batch")
        form = of_kind(self, preprocessing, ImagePreprocessing, PREPROCESSING)
        where, read, suffix = found
        files = {"train": TRAIN, "test": ("test_batch",)}
        parts = {
            part: ArrayPart(partial(_read_all, [where / f"{name}{suffix}" for name in names], read), form)
            for part, names in files.items()
        }
        return Opened(parts, CLASS_NAMES, form)


def _find(folder: Path) -> tuple[Path, Callable[[Path], Arrays], str] | None:
    """Where the batches are, how one is read, and how their names end."""
    for version, read, suffix in (
        ("cifar-10-batches-py", _read_python, ""),
        ("cifar-10-batches-bin", _read_binary, ".bin"),
    ):
        for where in (folder, folder / version):
            if all((where / f"{name}{suffix}").is_file() for name in (*TRAIN, "test_batch")):
                return where, read, suffix
    return None


def _read_all(files: list[Path], read: Callable[[Path], Arrays]) -> Arrays:
    """Pictures uint8 [N, 32, 32, 3] and labels int64 [N] of the files, one after the other."""
    batches = [read(file) for file in files]
    planes = np.concatenate([pixels for pixels, _ in batches]).reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), np.concatenate([labels for _, labels in batches])


def _read_python(file: Path) -> Arrays:
    content = read_pickle(file)
    try:
        pixels, labels = content["data"], np.asarray(content["labels"], np.int64)
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{file} holds no CIFAR-10 batch: no dictionary with data and labels") from None
    return _checked(file, pixels, labels)


def _read_binary(file: Path) -> Arrays:
    content = np.fromfile(file, np.uint8)
    if content.size % (1 + PIXELS):
        raise InputError(f"{file} is not a whole CIFAR-10 file: {content.size} bytes are no records of {1 + PIXELS}")
    records = content.reshape(-1, 1 + PIXELS)
    return _checked(file, records[:, 1:], records[:, 0].astype(np.int64))


def _checked(file: Path, pixels: object, labels: npt.NDArray[np.int64]) -> Arrays:
    shaped = isinstance(pixels, np.ndarray) and pixels.shape == (len(labels), PIXELS) and pixels.dtype == np.uint8
    if not shaped or labels.ndim != 1 or not ((labels >= 0) & (labels < len(CLASS_NAMES))).all():
        raise InputError(f"{file} holds no CIFAR-10 batch: N pictures of {PIXELS} bytes and N labels below 10 expected")
    assert isinstance(pixels, np.ndarray)
    return pixels, labels
