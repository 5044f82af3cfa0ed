"""MPII's annotations as train.json, valid.json and gt_valid.mat: the form of the simple baselines' authors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError
from etbac.models.data.mpii_mat import HEAD_SHARE, load_mat
from etbac.models.data.people import REFERENCE, People

NECK, TOP = 8, 9
HEADS_IN_HEIGHT = 8


def read_json(folder: Path, part: str, joints: int) -> People:
    """The people of annot/<part>.json; InputError where a field lacks or has another form."""
    path = folder / "annot" / f"{part}.json"
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        positions = np.array([entry["joints"] for entry in entries], np.float32).reshape(-1, joints, 2)
        annotated = np.array([entry["joints_vis"] for entry in entries], np.float32).reshape(-1, joints, 1)
        centre = np.array([entry["center"] for entry in entries], np.float32).reshape(-1, 2)
        scale = np.array([entry["scale"] for entry in entries], np.float32)
        pictures = [folder / "images" / entry["image"] for entry in entries]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is not MPII's annotations ({type(error).__name__}: {error}); a list of entries with image, "
            f"center, scale, joints [{joints}][2] and joints_vis [{joints}] is expected"
        ) from None
    if not len(pictures) or (scale <= 0).any():
        raise InputError(f"{path} holds nobody, or somebody with a scale of 0 or less")
    found = np.concatenate([positions - 1, annotated], axis=2)
    return People(pictures, centre - 1, scale, found, _head_sizes(folder, part, found, scale))


def _head_sizes(
    folder: Path, part: str, joints: npt.NDArray[np.float32], scale: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    rectangles = folder / "annot" / f"gt_{part}.mat"
    if rectangles.is_file():
        return _of_rectangles(rectangles, len(joints))
    both = (joints[:, NECK, 2] > 0) & (joints[:, TOP, 2] > 0)
    length = np.linalg.norm(joints[:, TOP, :2] - joints[:, NECK, :2], axis=1)
    known = both & (length > 0)
    return np.where(known, length, REFERENCE * scale / HEADS_IN_HEIGHT).astype(np.float32)


def _of_rectangles(path: Path, people: int) -> npt.NDArray[np.float32]:
    """From `headboxes_src` [2 corners, x and y, people]."""
    content: Any = load_mat(path)
    corners = np.asarray(content.get("headboxes_src", ()), np.float32)
    if corners.size != 4 * people:
        raise InputError(
            f"{path} holds headboxes_src of shape {list(corners.shape)}; [2, 2, {people}], for the people of "
            "the .json file beside it, is expected"
        )
    first, second = corners.reshape(2, 2, people)
    sizes: npt.NDArray[np.float32] = (HEAD_SHARE * np.linalg.norm(second - first, axis=0)).astype(np.float32)
    return sizes
