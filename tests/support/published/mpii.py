"""MPII Human Pose with rendered figures: the pictures, and the annotations in both published forms.

The .mat form is the structure RELEASE of http://human-pose.mpi-inf.mpg.de (its page names the fields); the .json form
and gt_valid.mat are those of "Simple Baselines for Human Pose Estimation" (Xiao, Wu, Wei 2018; their README and dataset
code name the fields). Pixels are counted from 1 in both. Figures are drawn, not photographed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from scipy.io import savemat

LIMBS = ((0, 1), (1, 2), (2, 6), (3, 6), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (10, 11), (11, 12), (12, 7))
LIMBS = (*LIMBS, (13, 7), (13, 14), (14, 15))
STANDING = np.array(
    [
        *((-20, 95), (-18, 55), (-14, 10), (14, 10), (18, 55), (20, 95)),
        *((0, 8), (0, -45), (0, -55), (0, -90)),
        *((-50, 0), (-42, -22), (-22, -45), (22, -45), (42, -22), (50, 0)),
    ],
    np.float64,
)
"""Joints of a figure of scale 1 around its middle, in MPII's order: right ankle … neck, head top … left wrist."""


@dataclass(frozen=True)
class Figure:
    """Pixels counted from 0; `missing`: a joint that is not annotated."""

    joints: np.ndarray
    centre: tuple[float, float]
    scale: float
    head: tuple[float, float, float, float]
    missing: int


def draw(size: tuple[int, int], count: int, random: np.random.Generator) -> tuple[Image.Image, list[Figure]]:
    """A picture of `count` figures side by side."""
    width, height = size
    picture = Image.new("RGB", size, (30, 60, 30))
    pencil = ImageDraw.Draw(picture)
    figures = []
    for number in range(count):
        scale = float(random.uniform(0.6, 0.9) * height / 240)
        centre = ((number + 0.5) * width / count, height / 2)
        joints = (STANDING + random.normal(0, 4, STANDING.shape)) * scale + centre
        for one, other in LIMBS:
            pencil.line([tuple(joints[one]), tuple(joints[other])], fill=(230, 200, 60 + 10 * one), width=4)
        x, y = (joints[8] + joints[9]) / 2
        radius = float(np.linalg.norm(joints[9] - joints[8])) / 1.2 / np.sqrt(2)
        pencil.ellipse([x - radius, y - radius, x + radius, y + radius], outline=(250, 160, 120), width=3)
        figures.append(Figure(joints, centre, scale, (x - radius, y - radius, x + radius, y + radius), number % 16))
    return picture, figures


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
    (folder / "annot").mkdir(exist_ok=True)
    for part, pictures in parts.items():
        entries = [_entry(name, figure) for name, figures in pictures for figure in figures]
        (folder / "annot" / f"{part}.json").write_text(json.dumps(entries))
    if rectangles:
        savemat(folder / "annot" / "gt_valid.mat", _ground_truth([each for _, all_ in parts["valid"] for each in all_]))
    return folder


def _entry(name: str, figure: Figure) -> dict[str, Any]:
    joints = (figure.joints + 1).tolist()
    joints[figure.missing] = [-1.0, -1.0]
    return {
        "joints_vis": [int(place != figure.missing) for place in range(16)],
        "joints": joints,
        "image": name,
        "scale": figure.scale,
        "center": [figure.centre[0] + 1, figure.centre[1] + 1],
    }


def _ground_truth(figures: list[Figure]) -> dict[str, Any]:
    missing = np.array([[place == figure.missing for figure in figures] for place in range(16)], np.float64)
    boxes = np.array([figure.head for figure in figures]).reshape(-1, 2, 2) + 1
    return {
        "jnt_missing": missing,
        "pos_gt_src": np.stack([figure.joints + 1 for figure in figures], axis=2),
        "headboxes_src": boxes.transpose(1, 2, 0),
    }


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
