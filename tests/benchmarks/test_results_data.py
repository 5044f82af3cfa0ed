"""What the data makers of benchmarks/results write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.results.cutouts import LETTERS, SIDE, write_compositions
from benchmarks.results.figures import write_figures
from etbac.models.data.image_mask import ImageMask
from etbac.models.data.mpii import Mpii
from etbac.preprocessing import ImagePreprocessing

WHOLE = ImagePreprocessing("x", SIDE, SIDE, 3, 1.0, (0.0,) * 3, (1.0,) * 3)
RED = (255, 0, 0)


def stamp(path: Path) -> None:
    """A red disc on nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGBA", (80, 50))
    ImageDraw.Draw(picture).ellipse((10, 5, 60, 40), fill=(*RED, 255))
    picture.save(path)


def test_a_mask_is_where_the_cut_out_is_and_a_cut_out_is_in_one_set(tmp_path: Path) -> None:
    for name in ("cat", "cat_mirror", "dog", "hen", "fox", "cow"):
        stamp(tmp_path / "stamps" / "animals" / "tame" / f"{name}.png")
    stamp(tmp_path / "stamps" / LETTERS / "a.png")
    write_compositions(tmp_path / "data", 4, tmp_path / "stamps")
    opened = ImageMask(unit="folder").open(tmp_path / "data", WHOLE)
    units = {part: {path.parent.name for path in opened.parts[part].pictures} for part in ("train", "test")}  # type: ignore[attr-defined]
    assert not units["train"] & units["test"]
    assert {name.split("-")[-1] for name in units["train"] | units["test"]} == {"cat", "dog", "hen", "fox", "cow"}
    assert len(opened.parts["train"]) + len(opened.parts["test"]) == 24
    for part in opened.parts.values():
        inputs, masks = part.read(np.arange(len(part)))
        far = abs(inputs["x"] - np.array(RED).reshape(1, 3, 1, 1)).mean(axis=1)
        assert np.median(far[masks == 1]) < 10
        assert np.median(far[masks == 0]) > 50
        assert (masks == 1).any(axis=(1, 2)).all()


def test_every_joint_of_a_figure_is_in_its_crop(tmp_path: Path) -> None:
    write_figures(tmp_path, 60, 20)
    for part in Mpii().open(tmp_path, WHOLE).parts.values():
        _, joints = part.read(np.arange(len(part)))
        seen = joints[joints[..., 2] > 0]
        assert len(seen) == 15 * len(part)
        assert ((seen[:, :2] > 0) & (seen[:, :2] < SIDE)).all()
        assert (np.ptp(joints[..., 1], axis=1) > SIDE / 4).all()
