"""Samples to look at: the surest and the least sure of those that leave at each exit."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from etbac.contract import FULL_MODEL_ID
from etbac.preprocessing import ImagePreprocessing
from etbac.report.collect import Figures, Tested
from etbac.report.harm import class_name
from etbac.report.html import Html, element

EACH = 6
LARGEST = 96
"""Pixels of a side; larger pictures are made smaller."""


def samples(figures: Figures, tested: Tested) -> Html | str:
    """A block for each stage where samples leave, or why there is none."""
    spec = next((each for each in figures.manifest.inputs if each.batch_axis is not None), None)
    shape = () if spec is None else spec.shape
    if spec is None or len(shape) != 4 or spec.batch_axis != 0 or shape[1] not in (1, 3):
        return "The model's input is no picture of 1 or 3 channels: its samples are not shown."
    pixels = tested.samples.inputs[spec.name]
    stages = [*tested.statistics.exits, FULL_MODEL_ID]
    blocks = [_stage(figures, tested, pixels, place, exit_id) for place, exit_id in enumerate(stages)]
    return element("div", *blocks, class_="exits")


def _stage(figures: Figures, tested: Tested, pixels: npt.NDArray[Any], place: int, exit_id: int) -> Html:
    rows = np.flatnonzero(tested.leaves == place)
    name = f"Exit {exit_id}" if exit_id != FULL_MODEL_ID else "The end"
    title = element("h3", f"{name}: {len(rows):,} samples")
    if not len(rows):
        return element("div", title, element("p", "Nobody leaves here.", class_="quiet"))
    exits = tested.statistics.confidence
    sure = exits[min(place, len(exits) - 1), rows] if len(exits) else np.zeros(len(rows))
    ordered = rows[np.argsort(-np.nan_to_num(sure, nan=-1), kind="stable")]
    if len(ordered) <= 2 * EACH:
        return element("div", title, _faces(figures, tested, pixels, ordered, place))
    easy, hard = ordered[:EACH], ordered[-EACH:]
    return element(
        *("div", title),
        *(element("p", "easiest", class_="quiet"), _faces(figures, tested, pixels, easy, place)),
        *(element("p", "hardest", class_="quiet"), _faces(figures, tested, pixels, hard, place)),
    )


def _faces(
    figures: Figures, tested: Tested, pixels: npt.NDArray[Any], rows: Sequence[int] | npt.NDArray[np.intp], place: int
) -> Html:
    return element("div", *(_face(figures, tested, pixels[row], int(row), place) for row in rows), class_="faces")


def _face(figures: Figures, tested: Tested, values: npt.NDArray[Any], row: int, place: int) -> Html:
    statistics = tested.statistics
    score, full, classes = statistics.scores[place, row], statistics.full_scores[row], statistics.classes
    right = bool(score) if statistics.is_right_or_wrong else bool(score >= full)
    label = f"sample {row}" if classes is None else class_name(tested, int(classes[row]))
    words = f"answered {'right' if right else 'wrong'}"
    if not statistics.is_right_or_wrong:
        words = f"score {score:.3f}, the full model's {full:.3f}"
    alt = f"{label}, {words}"
    source = "data:image/png;base64," + base64.b64encode(_png(figures, values)).decode()
    look = "right" if right else "wrong"
    return Html(element("img", src=source, alt=alt, title=alt, class_=look).removesuffix("</img>"))


def _png(figures: Figures, values: npt.NDArray[Any]) -> bytes:
    """A picture [C, H, W] as the model takes it, turned back into pixels; without a record of how, from its darkest to
    its brightest."""
    from PIL import Image

    recorded = figures.manifest.preprocessing
    if recorded.get("kind") == "image":
        how = ImagePreprocessing.from_json(recorded)
        mean, std = (np.array(each).reshape(-1, 1, 1) for each in (how.mean, how.std))
        bright = (values * std + mean) / how.scale
    else:
        bright = 255 * (values - values.min()) / (np.ptp(values) or 1)
    image = np.clip(np.round(bright), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    picture.thumbnail((LARGEST, LARGEST))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
