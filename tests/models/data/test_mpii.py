from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import loadmat, savemat
from scipy.ndimage import map_coordinates
from support.published import mpii

from benchmarks.results.rendered import Figure, draw
from etbac.errors import InputError
from etbac.models.data.mpii import JOINTS, MAT, Mpii
from etbac.models.data.parts import Samples
from etbac.models.data.people import People, PeoplePart
from etbac.preprocessing import ImagePreprocessing

PIXELS = ImagePreprocessing("x", 128, 128, 3, 1.0, (0.0,) * 3, (1.0,) * 3)


def everything(folder: Path, part: str, form: ImagePreprocessing = PIXELS) -> Samples:
    found = Mpii().open(folder, form).parts[part]
    return found.read(np.arange(len(found)))


def figures() -> list[Figure]:
    """Those that the fixture draws, in its order."""
    random = np.random.default_rng(0)
    return [figure for _ in range(16) for figure in draw((400, 260), 2, random)[1]]


@pytest.fixture(scope="module")
def as_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mpii.write(tmp_path_factory.mktemp("json"))


@pytest.fixture(scope="module")
def as_mat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mpii.write(tmp_path_factory.mktemp("mat"), form="mat")


def test_both_forms_give_the_same_people(as_json: Path, as_mat: Path) -> None:
    """The .mat file has no part of its own to test with; there, the pictures of every fifth video are it."""
    ours: list[Any] = [targets for part in ("train", "test") for targets in everything(as_json, part)[1]]
    theirs = [targets for part in ("train", "test") for targets in everything(as_mat, part)[1]]
    assert len(ours) == len(theirs) == 32
    visible = [np.where(each[:, 2:3] > 0, each[:, :3], 0) for each in ours]
    for each in theirs:
        seen = np.where(each[:, 2:3] > 0, each[:, :3], 0)
        assert min(abs(seen - other).max() for other in visible) < 1e-3


@given(st.floats(40, 160), st.floats(40, 160), st.floats(0.1, 0.5), st.integers(30, 90), st.integers(30, 90))
def test_a_joint_is_at_its_own_pixel_of_the_crop(
    tmp_path_factory: pytest.TempPathFactory, x: float, y: float, scale: float, height: int, width: int
) -> None:
    """In a picture whose red is x and whose green is y, the crop at a joint's place has the joint's coordinates."""
    path = tmp_path_factory.mktemp("gradient") / "a.png"
    rows, columns = np.mgrid[:200, :200]
    Image.fromarray(np.stack([columns, rows, 0 * rows], axis=2).astype(np.uint8)).save(path)
    joints = np.array([[[x + 9 * scale, y - 7 * scale, 1], [x, y, 0]]], np.float32)
    scales, heads = np.array([scale], np.float32), np.array([8], np.float32)
    people = People([path], np.array([[x, y]], np.float32), scales, joints, heads)
    form = ImagePreprocessing("x", height, width, 3, 1.0, (0.0,) * 3, (1.0,) * 3)
    inputs, targets = PeoplePart(people, form).read(np.array([0]))
    for (tx, ty, annotated, head), joint in zip(targets[0], joints[0], strict=True):
        found = [map_coordinates(inputs["x"][0, channel], [[ty], [tx]], order=1)[0] for channel in (0, 1)]
        # Half a level of rounding, in the crop and here.
        np.testing.assert_allclose(found, joint[:2], atol=1.1)
        assert annotated == joint[2]
        assert head == pytest.approx(8 * width / (250 * scale), rel=1e-5)


def test_the_crop_is_the_person_with_its_surroundings(as_json: Path) -> None:
    _, targets = everything(as_json, "train")
    for figure, joints in zip(figures(), targets, strict=False):
        ratio = 128 / (200 * 1.25 * figure.scale)
        middle = np.array(figure.centre) + np.array([0, 15 * figure.scale])
        seen = joints[:, 2] > 0
        assert np.flatnonzero(~seen).tolist() == [figure.missing]
        np.testing.assert_allclose(joints[seen, :2], (figure.joints[seen] - middle) * ratio + 64, atol=1e-3)
        assert ((joints[seen, :2] > 0) & (joints[seen, :2] < 128)).all()


def test_a_crop_twice_as_large_holds_the_same(as_json: Path) -> None:
    large = ImagePreprocessing("x", 256, 256, 3, 1.0, (0.0,) * 3, (1.0,) * 3)
    small_inputs, small = everything(as_json, "test")
    large_inputs, found = everything(as_json, "test", large)
    np.testing.assert_allclose(found[..., [0, 1, 3]], 2 * small[..., [0, 1, 3]], rtol=1e-5)
    halved = large_inputs["x"].reshape(len(found), 3, 128, 2, 128, 2).mean(axis=(3, 5))
    assert abs(halved - small_inputs["x"]).mean() < 6


@pytest.mark.parametrize("part", ["train", "test"])
def test_the_heads_size_is_that_of_its_rectangle(as_json: Path, as_mat: Path, part: str) -> None:
    """0.6 × the diagonal. The fixture draws rectangles for which that is the distance from the neck to the head top,
    which is what stands for it where there is no rectangle."""
    for folder in (as_json, as_mat):
        _, targets = everything(folder, part)
        both = (targets[:, [8, 9], 2] > 0).all(axis=1)
        distance = np.linalg.norm(targets[:, 9, :2] - targets[:, 8, :2], axis=1)
        np.testing.assert_allclose(targets[both, 0, 3], distance[both], rtol=1e-3)
        assert (targets[:, :, 3] == targets[:, :1, 3]).all()


def test_without_rectangles_and_head_an_eighth_of_the_person_stands_for_it(tmp_path: Path) -> None:
    folder = mpii.write(tmp_path, rectangles=False)
    path = folder / "annot" / "valid.json"
    people = json.loads(path.read_text())
    people[0]["joints_vis"][9] = 0
    path.write_text(json.dumps(people))
    _, targets = everything(folder, "test")
    ratio = 128 / (200 * 1.25 * people[0]["scale"])
    assert targets[0, 0, 3] == pytest.approx(200 * people[0]["scale"] / 8 * ratio, rel=1e-5)


def test_people_of_one_picture_are_one_unit(as_json: Path) -> None:
    part = Mpii().open(as_json, PIXELS).parts["train"]
    assert isinstance(part, PeoplePart)
    assert part.units is not None
    for row, unit in enumerate(part.units):
        same = [part.people.pictures[other] for other in np.flatnonzero(part.units == unit)]
        assert same == [part.people.pictures[row]] * 2


def test_people_of_one_video_are_one_unit_where_it_is_named(as_mat: Path) -> None:
    part = Mpii().open(as_mat, PIXELS).parts["train"]
    assert isinstance(part, PeoplePart)
    assert part.units is not None
    for unit in set(part.units):
        pictures = {part.people.pictures[row].stem for row in np.flatnonzero(part.units == unit)}
        assert len({int(stem) // 2 for stem in pictures}) == 1
        assert len(pictures) == 2


def test_people_without_annotations_and_the_published_test_part_are_left_out(as_mat: Path) -> None:
    parts = Mpii().open(as_mat, PIXELS).parts
    assert len(parts["train"]) + len(parts["test"]) == 32
    assert len(parts["test"]) in (4, 8), "whole videos of two pictures of two people"


def test_no_picture_is_opened_before_it_is_read(tmp_path: Path) -> None:
    folder = mpii.write(tmp_path, train=3, valid=2)
    for file in (folder / "images").iterdir():
        file.unlink()
    train = Mpii().open(folder, PIXELS).parts["train"]
    assert len(train) == 6
    with pytest.raises(InputError, match=r"000000000\.jpg is not there"):
        train.read(np.array([0]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "train.json is not MPII's annotations"),
        ("{}", "holds nobody"),
        ('[{"image": "a.jpg"}]', "KeyError: 'joints'"),
        (
            json.dumps([{"image": "a.jpg", "joints": [[1, 2]], "joints_vis": [1], "center": [1, 2], "scale": 1}]),
            "reshape",
        ),
    ],
)
def test_damaged_annotations_are_named(tmp_path: Path, content: str, message: str) -> None:
    folder = mpii.write(tmp_path, train=1, valid=1)
    (folder / "annot" / "train.json").write_text(content)
    with pytest.raises(InputError, match=message):
        Mpii().open(folder)


def test_a_damaged_mat_file_is_named(tmp_path: Path) -> None:
    folder = mpii.write(tmp_path, train=1, valid=1, form="mat")
    whole = (folder / MAT).read_bytes()
    (folder / MAT).write_bytes(whole[:300])
    with pytest.raises(InputError, match="not a whole MATLAB file"):
        Mpii().open(folder)
    savemat(folder / MAT, {"something": 1.0})
    with pytest.raises(InputError, match="the structure RELEASE with annolist"):
        Mpii().open(folder)


def test_rectangles_of_other_people_are_refused(tmp_path: Path) -> None:
    folder = mpii.write(tmp_path, train=1, valid=2)
    path = folder / "annot" / "gt_valid.mat"
    savemat(path, {"headboxes_src": loadmat(path)["headboxes_src"][..., 1:]})
    with pytest.raises(InputError, match=r"gt_valid\.mat holds headboxes_src of shape \[2, 2, 3\]; \[2, 2, 4\]"):
        Mpii().open(folder)


def test_there_are_16_joints() -> None:
    assert len(JOINTS) == 16
    assert (JOINTS[6], JOINTS[9], JOINTS[15]) == ("pelvis", "head top", "left wrist")
