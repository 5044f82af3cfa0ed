from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from etbac.errors import InputError
from etbac.preprocessing.pictures import read_mask, read_picture

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_of_any_mode_has_the_channels_asked_for(tmp_path: Path, mode: str, channels: int) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    picture = Image.fromarray(PIXELS).convert(mode)
    picture.save(path)
    found = read_picture(path, channels)
    assert (found.shape, found.dtype) == ((6, 9, channels), np.uint8)
    expected = np.asarray(picture.convert("L" if channels == 1 else "RGB")).reshape(found.shape)
    np.testing.assert_array_equal(found, expected)


def test_pictures_are_grey_or_coloured(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="read with 1 or 3 channels; 2 were asked for"):
        read_picture(tmp_path / "a.png", 2)


def test_a_picture_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png", 3), np.rot90(PIXELS, -1))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"text", "is no picture"), ("cut", "is a damaged picture"), (None, "is not there any more")],
)
def test_a_damaged_picture_is_named(tmp_path: Path, content: bytes | str | None, message: str) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).resize((200, 200)).save(path)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[:2000])
    for read in (lambda: read_picture(path, 3), lambda: read_mask(path)):
        with pytest.raises(InputError, match=rf"a\.png {message}"):
            read()


def test_masks_are_values_as_they_are_stored(tmp_path: Path) -> None:
    values = PIXELS[..., 0]
    Image.fromarray(values).save(tmp_path / "grey.png")
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / "wide.png")
    Image.fromarray(values > 99).save(tmp_path / "two.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "grey.png"), values)
    np.testing.assert_array_equal(read_mask(tmp_path / "wide.png"), values)
    np.testing.assert_array_equal(read_mask(tmp_path / "two.png"), values > 99)
    Image.fromarray(values.astype(np.uint16) + 200).save(tmp_path / "large.png")
    for name, content in (("large.png", None), ("colour.png", PIXELS)):
        if content is not None:
            Image.fromarray(content).save(tmp_path / name)
        with pytest.raises(InputError, match=rf"{name} is no mask"):
            read_mask(tmp_path / name)
