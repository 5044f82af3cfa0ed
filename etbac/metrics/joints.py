"""The metric of key points, PCKh@0.5."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError
from etbac.metrics.base import Array, Floats, Prediction, one_field

STRIDE = 4
"""Pixels of the input for one cell of a heatmap, as the task `pose` demands of its networks; cell 0 is at pixel 0."""
NEAR = 0.5


def pckh(prediction: Prediction, joints: Array) -> Floats:
    """Share of a picture's visible joints that are found within half a head of where they are.

    Heatmaps [N, J, h, w]; joints float [N, J, 4]: x and y in pixels of the model's input (`STRIDE` to a cell), visible
    (0 or 1), the head's size in the same pixels. A joint with NaN in its heatmap is not found. A picture without
    visible joints scores 0, whatever the answer: in a ratio of metrics it is left out, and proves nothing.
    Source: Andriluka et al., 2D Human Pose Estimation, CVPR 2014; the mean here is over pictures, not over joints.
    """
    heatmaps = one_field(prediction, "pckh")
    if heatmaps.ndim != 4 or joints.shape != (*heatmaps.shape[:2], 4):
        raise InputError(
            f"pckh needs heatmaps [N, J, h, w] and joints [N, J, 4]; found heatmaps {list(heatmaps.shape)} and joints "
            f"{list(joints.shape)}"
        )
    visible = joints[..., 2] > 0
    distance = np.linalg.norm(STRIDE * positions(heatmaps) - joints[..., :2], axis=-1)
    found = visible & (distance <= NEAR * joints[..., 3])  # a distance of NaN is not
    share: Floats = found.sum(axis=1) / np.maximum(visible.sum(axis=1), 1)
    return share


def positions(heatmaps: Array) -> npt.NDArray[np.float64]:
    """[N, J, h, w] -> x and y in cells, [N, J, 2]: the highest cell, and from there a quarter towards the higher of its
    two neighbours in the row, and in the column, but on the border."""
    n, count, height, width = heatmaps.shape
    flat = heatmaps.reshape(n, count, -1).astype(np.float64)
    best = flat.argmax(axis=2)
    row, column = np.divmod(best, width)

    def value(at: npt.NDArray[np.int64]) -> Floats:
        return np.take_along_axis(flat, np.clip(at, 0, height * width - 1)[..., None], axis=2)[..., 0]

    across = np.sign(value(best + 1) - value(best - 1)) * ((column > 0) & (column < width - 1))
    down = np.sign(value(best + width) - value(best - width)) * ((row > 0) & (row < height - 1))
    found = np.stack([column + across / 4, row + down / 4], axis=-1)
    found[np.isnan(flat).any(axis=2)] = np.nan
    return found
