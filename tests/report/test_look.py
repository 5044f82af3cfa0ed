"""The page as a browser shows it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.browser import CHROMIUM, look

from etbac.report import report

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def page(complete: Path) -> str:
    path, _ = report(complete, data=complete.parent / "data.npz", batches=6)
    return path.read_text("utf-8")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_is_legible_and_complete(page, tmp_path, width, dark):
    found, picture = look(page, tmp_path, width, dark)
    assert found["width"] == width
    assert min(found["fonts"]) >= 14.5
    assert found["images"]
    assert min(found["images"]) > 0
    assert len(found["plots"]) == 4
    assert min(found["plots"]) > 100
    assert found["requests"] == []
    paper, ink = brightness(found["paper"]), brightness(found["ink"])
    assert (paper < 0.2 < 0.7 < ink) if dark else (ink < 0.2 < 0.9 < paper)
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    assert pixels.shape[1] == width
    for colour in {each for each in found["lines"] if each.startswith("rgb(")}:
        assert (pixels == numbers(colour)).all(axis=-1).any(), f"{colour} is not painted"


def test_light_and_dark_differ_in_the_plots_too(page, tmp_path):
    lines = [set(look(page, tmp_path, 390, dark)[0]["lines"]) - {"none"} for dark in (False, True)]
    assert lines[0].isdisjoint(lines[1])


def numbers(colour: str) -> list[int]:
    return [int(each) for each in re.findall(r"\d+", colour)[:3]]


def brightness(colour: str) -> float:
    return sum(numbers(colour)) / 3 / 255
