"""Picture files as pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError, MissingPackageError

if TYPE_CHECKING:
    from PIL import Image

MODES = {1: "L", 3: "RGB"}
"""Channels -> what Pillow calls such a picture."""

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif"})


def open_picture(path: Path) -> Image.Image:
    """The picture, its pixels not read yet. InputError for a file that is none; MissingPackageError without Pillow."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingPackageError("reading pictures needs Pillow. Install it: pip install pillow") from None
    try:
        return Image.open(path)
    except FileNotFoundError:
        raise InputError(f"{path} is not there any more") from None
    except UnidentifiedImageError:
        raise InputError(f"{path} is no picture; remove it from the folder") from None
    except (ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is a damaged picture ({error}); remove or replace it") from None


def read_picture(path: Path, channels: int) -> npt.NDArray[np.uint8]:
    """uint8 [h, w, channels], turned upright as the camera recorded; 1 channel is grey, 3 are red, green, blue."""
    from PIL import ImageOps

    if channels not in MODES:
        raise InputError(f"pictures are read with {' or '.join(map(str, MODES))} channels; {channels} were asked for")
    with open_picture(path) as opened:
        try:
            picture = ImageOps.exif_transpose(opened).convert(MODES[channels])
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(f"{path} is a damaged picture ({error}); remove or replace it") from None
    return np.asarray(picture, np.uint8).reshape(picture.height, picture.width, channels)


def read_mask(path: Path) -> npt.NDArray[np.uint8]:
    """uint8 [h, w]: the values as they are stored, of a palette too. InputError where a pixel has several."""
    with open_picture(path) as opened:
        try:
            values = np.asarray(opened)
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(f"{path} is a damaged picture ({error}); remove or replace it") from None
    if values.ndim != 2 or values.dtype.kind not in "bu" or values.max(initial=0) > 255:
        raise InputError(
            f"{path} is no mask: one class a pixel, 0 to 255, is expected; found shape {values.shape}, {values.dtype}"
        )
    return values.astype(np.uint8)
