"""MPII Human Pose with rendered figures: the pictures, and the annotations in both published forms.

The .mat form is the structure RELEASE of http://human-pose.mpi-inf.mpg.de (its page names the fields); the .json form
is that of `benchmarks.results.rendered`. Pixels are counted from 1 in both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from benchmarks.results.rendered import Figure, draw, write_json


def write(folder: Path, train: int = 12, valid: int = 4, form: str = "json", rectangles: bool = True) -> Path:
    """`train` and `valid` pictures of two figures each; `form` "json" (`rectangles`: with gt_valid.mat) or "mat"."""
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    parts: dict[str, list[tuple[str, list[Figure]]]] = {"train": [], "valid": []}
    for part, count in (("train", train), ("valid", valid)):
        for _ in range(count):
            name = f"{sum(map(len, parts.values())):09}.jpg"
            picture, figures = draw((400, 260), 2, random)
            picture.save(folder / "images" / name, quality=95)
            parts[part].append((name, figures))
    if form == "mat":
        savemat(folder / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": _release([*parts["train"], *parts["valid"]])})
        return folder
    for part, pictures in parts.items():
        write_json(folder, part, pictures, rectangles and part == "valid")
    return folder


def _release(pictures: list[tuple[str, list[Figure]]]) -> dict[str, Any]:
    """With a picture of the test part, which has a place and a scale alone, and somebody without joints."""
    entries = [*pictures, ("000000099.jpg", [])]
    annolist = np.zeros((1, len(entries)), [(name, object) for name in ("image", "annorect", "frame_sec", "vididx")])
    for place, (name, figures) in enumerate(entries):
        people = _rectangles(figures) if figures else _of_test_part()
        annolist[0, place] = ({"name": name}, people, float(place), float(place // 2 + 1))
    train = np.array([[float(bool(figures)) for _, figures in entries]])
    return {"annolist": annolist, "img_train": train, "version": "12"}


def _rectangles(figures: list[Figure]) -> np.ndarray:
    fields = ("x1", "y1", "x2", "y2", "annopoints", "scale", "objpos")
    people = np.zeros((1, len(figures) + 1), [(name, object) for name in fields])
    for place, figure in enumerate(figures):
        corners = [value + 1 for value in figure.head]
        objpos = {"x": figure.centre[0] + 1, "y": figure.centre[1] + 1}
        people[0, place] = (*corners, {"point": _points(figure)}, figure.scale, objpos)
    nothing = np.zeros((0, 0))
    people[0, -1] = (1.0, 1.0, 9.0, 9.0, nothing, nothing, nothing)
    return people


def _points(figure: Figure) -> np.ndarray:
    annotated = [place for place in range(16) if place != figure.missing]
    points = np.zeros((1, len(annotated)), [(name, object) for name in ("x", "y", "id", "is_visible")])
    for place, joint in enumerate(annotated):
        x, y = figure.joints[joint] + 1
        points[0, place] = (x, y, float(joint), "1" if joint % 3 else "0")
    return points


def _of_test_part() -> np.ndarray:
    people = np.zeros((1, 1), [("scale", object), ("objpos", object)])
    people[0, 0] = (1.2, {"x": 100.0, "y": 120.0})
    return people
