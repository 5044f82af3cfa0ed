"""Rendered figures: jointed, clothed, seen from the front or from behind, in clutter; MPII's sixteen joints of each.

Left and right look alike: which is which shows by the face alone. MPII's published annotations of them are written in
the .json form of "Simple Baselines for Human Pose Estimation" (Xiao, Wu, Wei 2018; their README and data set's code
name the fields), which counts pixels from 1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.io import savemat

from benchmarks.results.clutter import Size, background, colour, scatter

Floats = npt.NDArray[np.float64]
HEIGHT = 200
"""Pixels of a figure of scale 1."""
FINER = 2
"""Drawn so many times larger, for smooth edges."""


@dataclass(frozen=True)
class Figure:
    """Pixels counted from 0; `head`: a rectangle's corners; `missing`: a joint that is not annotated."""

    joints: Floats
    centre: tuple[float, float]
    scale: float
    head: tuple[float, float, float, float]
    missing: int


def draw(
    size: Size, count: int, random: np.random.Generator, shapes: int = 0, wild: float = 0.3
) -> tuple[Image.Image, list[Figure]]:
    """A picture of `count` figures side by side among `shapes` shapes, a tenth of them before the figures; `wild`: how
    far poses are from standing, 0 … 1."""
    width, height = FINER * size[0], FINER * size[1]
    picture = background((width, height), shapes, random)
    figures = []
    for number in range(count):
        front = bool(random.random() < 0.7)
        joints = pose(random, front, wild)
        reach = np.ptp(joints, axis=0)
        scale = float(random.uniform(0.7, 0.9) * min(height / reach[1], width / count / reach[0], height / 160))
        cell = np.array([(number + 0.5) * width / count, height / 2])
        joints = (joints - (joints.max(axis=0) + joints.min(axis=0)) / 2) * scale + cell
        _paint(picture, joints, scale, front, random)
        figures.append(_figure(joints / FINER, reach, scale / FINER, random))
    scatter(picture, shapes // 10, random)
    return picture.resize(size, Image.Resampling.BOX), figures


def pose(random: np.random.Generator, front: bool, wild: float) -> Floats:
    """Joints of a figure of scale 1, y down, in MPII's order: right ankle … pelvis, thorax, neck, head top … left
    wrist."""
    lean = random.normal(0, 0.35 * wild)
    turn = random.uniform(1 - 0.6 * wild, 1) * (1 if front else -1)
    pelvis = np.zeros(2)
    thorax = pelvis + _from(lean, -53)
    neck = thorax + _from(lean, -10)
    top = neck + _from(lean + random.normal(0, 0.3 * wild), -35)
    across = _from(lean, 1)[::-1] * (1, -1)
    limbs = {}
    for side, sign in (("right", -turn), ("left", turn)):
        outwards = np.sign(sign)
        hip, shoulder = pelvis + 14 * sign * across + (0, 4), thorax + 22 * sign * across + (0, 4)
        upper = lean + outwards * random.uniform(0.1, 0.3 + 2.6 * wild)
        elbow = shoulder + _from(upper, 30)
        wrist = elbow + _from(upper + outwards * random.uniform(-0.3, 0.2 + 2.2 * wild), 30)
        thigh = outwards * random.uniform(-0.1, 0.15 + 1.1 * wild)
        knee = hip + _from(thigh, 43)
        ankle = knee + _from(thigh - outwards * random.uniform(0, 0.1 + 1.3 * wild), 42)
        limbs[side] = (ankle, knee, hip, shoulder, elbow, wrist)
    right, left = limbs["right"], limbs["left"]
    return np.array([*right[:3], *left[2::-1], pelvis, thorax, neck, top, *right[:2:-1], *left[3:]])


def _from(angle: float, length: float) -> Floats:
    """A step downwards (upwards where `length` is negative), turned by `angle`."""
    return length * np.array([np.sin(angle), np.cos(angle)])


def _paint(picture: Image.Image, joints: Floats, scale: float, front: bool, random: np.random.Generator) -> None:
    pencil = ImageDraw.Draw(picture)
    skin = (random.integers(90, 250), *random.integers(60, 200, 2).tolist())
    hair, shirt, trousers = colour(random), colour(random), colour(random)
    sleeves, legs = (shirt if random.random() < 0.5 else skin), (trousers if random.random() < 0.7 else skin)
    thick = scale * random.uniform(8, 13)

    def limb(places: Sequence[int], fill: tuple[int, ...]) -> None:
        pencil.line([tuple(joints[place]) for place in places], fill=fill, width=int(thick), joint="curve")
        for place in places:
            disc(joints[place], thick / 2, fill)

    def disc(middle: Floats, radius: float, fill: tuple[int, ...]) -> None:
        pencil.ellipse([*(middle - radius), *(middle + radius)], fill=fill)

    def trunk() -> None:
        pencil.polygon([tuple(joints[place]) for place in (12, 13, 3, 2)], fill=shirt)
        limb((12, 13), shirt)
        limb((2, 3), trousers)
        limb((7, 8), skin)

    def arms() -> None:
        for shoulder, elbow, wrist in ((12, 11, 10), (13, 14, 15)):
            limb((elbow, wrist), skin)
            limb((shoulder, elbow), sleeves)

    for hip, knee, ankle in ((2, 1, 0), (3, 4, 5)):
        limb((knee, ankle), legs)
        limb((hip, knee), trousers)
    for part in (trunk, arms) if front else (arms, trunk):
        part()
    middle, along = (joints[8] + joints[9]) / 2, (joints[8] - joints[9]) / 2
    radius = float(np.linalg.norm(along))
    disc(middle, radius, hair)
    if front:
        disc(middle + 0.3 * along, 0.75 * radius, skin)
        for side in (-0.35, 0.35):
            disc(middle + side * along[::-1] * (1, -1), 0.14 * radius, (20, 20, 30))


def _figure(joints: Floats, reach: Floats, scale: float, random: np.random.Generator) -> Figure:
    """`scale` and the centre are near what an annotator would say: the whole of the figure is in its crop."""
    x, y = (joints[8] + joints[9]) / 2
    radius = float(np.linalg.norm(joints[9] - joints[8])) / 1.2 / np.sqrt(2)
    person = float(max(reach) / 185 * scale * random.uniform(1, 1.15))
    middle = (joints.max(axis=0) + joints.min(axis=0)) / 2 + random.uniform(-6, 6, 2) * person
    centre = (float(middle[0]), float(middle[1] - 15 * person))
    return Figure(joints, centre, person, (x - radius, y - radius, x + radius, y + radius), int(random.integers(16)))


def write_json(folder: Path, part: str, pictures: Sequence[tuple[str, Sequence[Figure]]], rectangles: bool) -> None:
    """annot/<part>.json, and `rectangles`: annot/gt_<part>.mat, of figures by their picture's name."""
    (folder / "annot").mkdir(parents=True, exist_ok=True)
    entries = [_entry(name, figure) for name, figures in pictures for figure in figures]
    (folder / "annot" / f"{part}.json").write_text(json.dumps(entries))
    if rectangles:
        people = [figure for _, figures in pictures for figure in figures]
        savemat(folder / "annot" / f"gt_{part}.mat", _ground_truth(people))


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


def _ground_truth(figures: Sequence[Figure]) -> dict[str, Any]:
    missing = np.array([[place == figure.missing for figure in figures] for place in range(16)], np.float64)
    boxes = np.array([figure.head for figure in figures]).reshape(-1, 2, 2) + 1
    return {
        "jnt_missing": missing,
        "pos_gt_src": np.stack([figure.joints + 1 for figure in figures], axis=2),
        "headboxes_src": boxes.transpose(1, 2, 0),
    }
