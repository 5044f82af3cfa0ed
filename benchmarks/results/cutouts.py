"""Cut-outs with alpha masks of Debian's package tuxpaint-stamps-default, laid on rendered backgrounds.

The package's pictures are under the GPL 2: fetched, not shipped.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.data import unpack
from benchmarks.results.clutter import background
from benchmarks.results.row import QUICK, Row

STAMPS = "tuxpaint-stamps-default"
LETTERS = "alphabets"
"""Left out: at this size their strokes are lines."""
SIDE = 96
MOST_SHAPES = 40


def row() -> Row:
    return Row(
        "segmentation",
        "segmentation",
        "cut-outs on rendered backgrounds, DeepLab ResNet-18",
        lambda folder: write_compositions(folder, 2 if QUICK else 15),
        (
            *("--loader", "image-mask", "--data-option", "unit=folder"),
            *("--preprocess", f"height={SIDE}", "--preprocess", f"width={SIDE}", "--learning-rate", "3e-3"),
            *("--model", "deeplab-resnet18", "--model-options", '{"width": 16, "head_width": 32, "num_classes": 2}'),
            *("--exits", "3,4,5,6", "--head-options", '{"hidden": 32}', "--distillation", "0.5"),
            *("--exit-batch-size", "32", "--exit-learning-rate", "4e-3", "--mixed-precision", "bf16"),
        ),
        ("--epochs", "8", "--exit-epochs", "16"),
        ("--epochs", "1", "--exit-epochs", "2"),
        uncertified="mIoU: asymptotic, not certified",
    )


def write_compositions(folder: Path, each: int, source: Path = Path("data") / STAMPS, most: int | None = None) -> None:
    """`each` pictures of every cut-out (of the first `most`) with their masks, a folder a cut-out; SystemExit where
    the cut-outs can't be had."""
    if not source.is_dir():
        unpack(STAMPS, source)
    random = np.random.default_rng(0)
    files = [path for path in sorted(source.rglob("*.png")) if LETTERS not in path.parts]
    for path in files[:most]:
        cutout = _opened(path)
        # A cut-out and its mirror image are one.
        name = "-".join(path.parts[-3:-1]) + "-" + re.sub("_(mirror|flip)$", "", path.stem)
        for kind in ("images", "masks"):
            (folder / kind / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            picture, mask = compose(cutout, random)
            picture.save(folder / "images" / name / f"{path.stem}-{number}.jpg", quality=92)
            mask.save(folder / "masks" / name / f"{path.stem}-{number}.png")
    (folder / "classes.txt").write_text("ground\ncut-out\n")


def compose(cutout: Image.Image, random: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """The cut-out at random size, place, angle and side, from hardly any clutter behind it to much; and where it is."""
    picture = background((SIDE, SIDE), int(MOST_SHAPES * random.random() ** 2), random)
    if random.random() < 0.5:
        cutout = cutout.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    cutout = cutout.rotate(random.normal(0, 15), Image.Resampling.BILINEAR, expand=True)
    ratio = SIDE * random.uniform(0.4, 0.9) / max(cutout.size)
    cutout = cutout.resize([max(1, round(ratio * side)) for side in cutout.size], Image.Resampling.BOX)
    x, y = (int(random.integers(0, SIDE - side + 1)) for side in cutout.size)
    picture.paste(cutout, (x, y), cutout)
    mask = Image.new("L", picture.size)
    mask.paste(cutout.getchannel("A").point(lambda alpha: alpha > 127), (x, y))
    return picture, mask


def _opened(path: Path) -> Image.Image:
    """No larger than needed, without empty borders."""
    picture = Image.open(path).convert("RGBA")
    picture = picture.crop(picture.getchannel("A").getbbox())
    picture.thumbnail((2 * SIDE, 2 * SIDE))
    return picture
