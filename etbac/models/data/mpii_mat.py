"""MPII's annotations as the MATLAB structure RELEASE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError, MissingPackageError, one_line
from etbac.models.data.people import People
from etbac.models.data.splits import divide

HEAD_SHARE = 0.6
"""The head's size is this share of its rectangle's diagonal (Andriluka et al. 2014)."""


def load_mat(path: Path) -> Mapping[str, Any]:
    """A MATLAB file's variables; structures have attributes, and arrays of one entry are that entry."""
    try:
        from scipy.io import loadmat
    except ImportError:
        raise MissingPackageError(f"{path} needs scipy. Install it: pip install scipy") from None
    try:
        found: Mapping[str, Any] = loadmat(str(path), struct_as_record=False, squeeze_me=True)
    except Exception as error:  # a damaged file can fail in any way
        raise InputError(f"{path} is not a whole MATLAB file ({one_line(error)[:200]}); get it again") from None
    return found


@dataclass(frozen=True)
class _Person:
    picture: Path
    video: str
    centre: tuple[float, float]
    scale: float
    joints: npt.NDArray[np.float32]
    head: float


def read_mat(path: Path, pictures: Path, joints: int) -> tuple[People, People]:
    """The training and the test part: the annotated people with joints, a scale and a head; all of a video in one."""
    release: Any = load_mat(path).get("RELEASE")
    try:
        found = [
            person
            for entry, wanted in zip(_list(release.annolist), _list(release.img_train), strict=True)
            if wanted
            for person in _people(entry, pictures, joints)
        ]
    except (AttributeError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"{path} is not MPII's annotations ({type(error).__name__}: {error}); the structure RELEASE with annolist "
            "and img_train is expected"
        ) from None
    if not found:
        raise InputError(f"{path} holds nobody with joints, a scale and a head's rectangle")
    train, test = divide(found, [person.video for person in found])
    return _together(train, joints), _together(test, joints)


def _people(entry: Any, pictures: Path, joints: int) -> list[_Person]:
    """Those people of a picture who have all that is needed; for some it was not annotated."""
    picture = pictures / str(entry.image.name)
    number = getattr(entry, "vididx", ())
    video = str(number) if np.size(number) == 1 else picture.name
    found = []
    for rectangle in _list(getattr(entry, "annorect", ())):
        points: Any = getattr(rectangle, "annopoints", None)
        place: Any = getattr(rectangle, "objpos", None)
        scale: Any = getattr(rectangle, "scale", ())
        if not hasattr(points, "point") or not hasattr(place, "x") or np.size(scale) != 1:
            continue
        diagonal = np.hypot(rectangle.x2 - rectangle.x1, rectangle.y2 - rectangle.y1)
        centre = (float(place.x) - 1, float(place.y) - 1)
        person = _Person(picture, video, centre, float(scale), _joints(points, joints), HEAD_SHARE * float(diagonal))
        found.append(person)
    return found


def _joints(points: Any, count: int) -> npt.NDArray[np.float32]:
    """float32 [count, 3]: x, y, 1 where it is annotated. An occluded joint is annotated, and scored, too."""
    joints = np.zeros((count, 3), np.float32)
    for point in _list(points.point):
        joints[int(point.id)] = (float(point.x) - 1, float(point.y) - 1, 1)
    return joints


def _together(people: list[_Person], joints: int) -> People:
    return People(
        [person.picture for person in people],
        np.array([person.centre for person in people], np.float32).reshape(-1, 2),
        np.array([person.scale for person in people], np.float32),
        np.array([person.joints for person in people], np.float32).reshape(-1, joints, 3),
        np.array([person.head for person in people], np.float32),
        [person.video for person in people],
    )


def _list(value: Any) -> list[Any]:
    """Squeezing made an array of one entry that entry."""
    return list(np.atleast_1d(value))
