"""Whenever a command is killed, what was there before loads and answers, and the next command clears what it left."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support.changing_commands import COMMANDS, NAME, rebuild
from support.kill_points import Command, count_points, kill_at
from support.two_blocks import make_engine_dir, make_inputs

import etbac
from etbac.cli.main import cli
from etbac.contract import Plan
from etbac.engine_dir import EngineDir, count_reading, write_plan, write_profile
from etbac.errors import EngineDirError

PLAN = Plan((3, 7), {3: 0.6, 7: 0.5}, precision=0.99, certified=False, reason="a test")
OWN_FILES = {"notes.txt": b"mine", "plans/mine.json": b"mine too", "segment-00.onnx": b"also mine"}
POINTS_EACH = 10
"""Points tried of each command in the default suite; all of them are in the long one."""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a plan, a profile, a counted reading and files of the user's own."""
    path = tmp_path_factory.mktemp("before") / "engines"
    engine_dir = make_engine_dir(path)
    count_reading(engine_dir, "abc")
    engine_dir = write_profile(engine_dir, NAME, '{"measured": 1}', "batch,ms\n1,2\n")
    write_plan(engine_dir, NAME, PLAN)
    for name, content in OWN_FILES.items():
        (path / name).write_bytes(content)
    return path


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_some_points(name: str, before: Path, tmp_path: Path) -> None:
    check_points(
        COMMANDS[name],
        before,
        tmp_path,
        lambda points: random.Random(name).sample(points, min(POINTS_EACH, len(points))),
    )


@pytest.mark.long
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_every_point(name: str, before: Path, tmp_path: Path) -> None:
    check_points(COMMANDS[name], before, tmp_path, lambda points: points)


def test_a_first_build_that_is_killed_leaves_nothing_that_loads(tmp_path: Path) -> None:
    points = count_points(rebuild, tmp_path / "counted")
    for point in random.Random(0).sample(range(1, points + 1), POINTS_EACH):
        path = tmp_path / str(point)
        kill_at(rebuild, path, point)
        try:
            assert_whole(path)
        except EngineDirError as error:
            assert "etbac compile" in str(error)  # noqa: PT017
        rebuild(path)
        assert_whole(path)
        assert_nothing_left_over(path)


def check_points(command: Command, before: Path, tmp_path: Path, choose: Callable[[list[int]], list[int]]) -> None:
    counted = tmp_path / "counted"
    shutil.copytree(before, counted)
    points = count_points(command, counted)
    assert points > 10
    for point in choose(list(range(1, points + 1))):
        path = tmp_path / f"{point}"
        shutil.copytree(before, path)
        kill_at(command, path, point)
        assert_whole(path)
        assert EngineDir.open(path).readings()["abc"] >= 1
        ran = CliRunner().invoke(cli, ["run", "--engine-dir", str(path)])
        assert ran.exit_code == 0, ran.output
        assert_nothing_left_over(path)
        assert {name: (path / name).read_bytes() for name in OWN_FILES} == OWN_FILES


def assert_whole(path: Path) -> None:
    """Every file that the manifest names is unchanged, and the chain answers as the full model."""
    engine_dir = EngineDir.open(path)
    for name in engine_dir.manifest.files:
        engine_dir.check(name)
    inputs = make_inputs(16)
    with etbac.load(path) as chain:
        np.testing.assert_allclose(
            chain.run(inputs, thresholds="off").prediction, chain.full(inputs), rtol=1e-4, atol=1e-5
        )


def assert_nothing_left_over(path: Path) -> None:
    found = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
    referred = set(EngineDir.open(path).manifest.files)
    assert found - referred - set(OWN_FILES) <= {"manifest.json", "readings.json", ".lock"}
