"""Fashion-MNIST: 60,000 and 10,000 pictures of clothes, 28 × 28 grey pixels, 10 classes, in four gzipped IDX files.

Source: Xiao, Rasul, Vollgraf, 2017. The IDX form: two zero bytes, a type (8: uint8), the rank, big-endian sizes, bytes.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError
from etbac.models.data.loader import Opened, of_kind
from etbac.models.data.parts import ArrayPart
from etbac.preprocessing import ImagePreprocessing, Preprocessing

FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
REMEDY = (
    "get them from the Debian package dataset-fashion-mnist (/usr/share/datasets/fashion-mnist) or from the data set's "
    "public release (zalandoresearch/fashion-mnist), and name their folder with --data"
)
CLASS_NAMES = (
    *("T-shirt/top", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
PREPROCESSING = ImagePreprocessing("image", 28, 28, 1, 1 / 255, (0.2860,), (0.3530,))


@dataclass(frozen=True)
class FashionMnist:
    """The loader `fashion-mnist`."""

    name: ClassVar[str] = "fashion-mnist"
    task: ClassVar[str] = "classification"

    def check(self, folder: Path) -> None:
        """InputError unless all four files are there."""
        expected = [name for names in FILES.values() for name in names]
        missing = [name for name in expected if not (folder / name).is_file()]
        if missing:
            found = "nothing of it" if len(missing) == len(expected) else f"all but {', '.join(missing)}"
            raise InputError(
                f"{folder}: Fashion-MNIST is the four files {', '.join(expected)}; {found} is there; {REMEDY}"
            )

    def open(self, folder: Path, preprocessing: Preprocessing | None = None) -> Opened:
        """Both parts, 28 × 28 grey pixels each; the files are read when samples are asked for."""
        self.check(folder)
        form = of_kind(self, preprocessing, ImagePreprocessing, PREPROCESSING)
        parts = {part: ArrayPart(partial(_read_part, folder, part), form) for part in FILES}
        return Opened(parts, CLASS_NAMES, form)


def _read_part(folder: Path, part: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The pictures uint8 [N, 28, 28, 1] and labels int64 [N] of the part "train" or "test"."""
    images, labels = (_read_idx(folder / name) for name in FILES[part])
    if (
        images.ndim != 3
        or images.shape[1:] != (28, 28)
        or labels.shape != images.shape[:1]
        or labels.max(initial=0) >= len(CLASS_NAMES)
    ):
        raise InputError(
            f"{folder}: {FILES[part][0]} holds shape {images.shape} and {FILES[part][1]} shape {labels.shape}; "
            f"N pictures of 28 × 28 and N labels below 10 are expected; {REMEDY}"
        )
    return images[..., None], labels.astype(np.int64)


def _read_idx(path: Path) -> npt.NDArray[np.uint8]:
    try:
        content = gzip.decompress(path.read_bytes())
        zeros, kind, rank = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{rank}I", content, 4)
        values = np.frombuffer(content, np.uint8, offset=4 + 4 * rank)
    except (EOFError, gzip.BadGzipFile, zlib.error, struct.error, ValueError) as error:
        raise InputError(f"{path} is not a whole gzipped IDX file ({error}); {REMEDY}") from error
    if (zeros, kind) != (0, 8) or values.size != int(np.prod(shape)):
        raise InputError(f"{path} is not an IDX file of uint8: {values.size} values for shape {shape}; {REMEDY}")
    return values.reshape(shape)
