"""A folder of pictures as a model's input, read as it is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError, MissingPackageError
from etbac.preprocessing import ImagePreprocessing

if TYPE_CHECKING:
    from PIL import Image

_MODES = {1: "L", 3: "RGB"}


class PictureFolder:
    """The pictures of a folder, sorted by name; hidden files and sub-folders are left out.

    `resized` names those read so far that had another size than the model takes. Raises InputError for a folder
    without pictures and for a file that is none; MissingPackageError without Pillow.
    """

    def __init__(self, folder: Path, preprocessing: ImagePreprocessing) -> None:
        self._preprocessing = preprocessing
        self.resized: list[str] = []
        if preprocessing.channels not in _MODES:
            raise InputError(
                f"pictures have 1 or 3 channels; the model takes {preprocessing.channels}: give an .npy file"
            )
        files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        self.files = sorted(files, key=lambda path: path.name)
        if not self.files:
            raise InputError(f"{folder} holds no pictures")
        for path in self.files:
            _open(path).close()

    def read(self, rows: slice) -> dict[str, npt.NDArray[np.float32]]:
        """The pictures of those rows, as the model takes them."""
        return self._preprocessing.apply(np.stack([self._pixels(path) for path in self.files[rows]]))

    def _pixels(self, path: Path) -> npt.NDArray[np.uint8]:
        from PIL import Image, ImageOps

        size = (self._preprocessing.width, self._preprocessing.height)
        channels = self._preprocessing.channels
        with _open(path) as opened:
            try:
                picture = ImageOps.exif_transpose(opened).convert(_MODES[channels])
            except (OSError, ValueError, SyntaxError) as error:
                raise InputError(f"{path} is a damaged picture ({error}); remove or replace it") from None
        if picture.size != size:
            self.resized.append(f"{path.name} ({picture.width}×{picture.height})")
            picture = picture.resize(size, Image.Resampling.BILINEAR)
        return np.asarray(picture, np.uint8).reshape(size[1], size[0], channels)


def note_on_sizes(resized: Sequence[str], preprocessing: ImagePreprocessing) -> str | None:
    """One sentence for all pictures that were resized; None where none was."""
    if not resized:
        return None
    count = f"{len(resized)} picture{'s were' if len(resized) > 1 else ' was'}"
    return f"{count} resized to {preprocessing.width}×{preprocessing.height}; the first was {resized[0]}"


def _open(path: Path) -> Image.Image:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingPackageError("reading pictures needs Pillow. Install it: pip install pillow") from None
    try:
        return Image.open(path)
    except UnidentifiedImageError:
        raise InputError(f"{path} is no picture; remove it from the folder") from None
    except (ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is a damaged picture ({error}); remove or replace it") from None
