"""Whenever a command is killed, what was there before loads and answers, and the next command clears what it left."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support import changing_commands as commands
from support.kill_points import Command, count_points, kill_at
from support.two_blocks import make_engine_dir, make_inputs

import etbac
from etbac.cli.main import cli
from etbac.engine_dir import EngineDir
from etbac.errors import EngineDirError

OWN_FILES = {"notes.txt": b"mine", "plans/mine.json": b"mine too", "segment-00.onnx": b"also mine"}
COMMANDS: dict[str, Command] = {
    "compile": commands.compile,
    "profile": commands.profile,
    "plan": commands.plan,
    "engines": commands.engines,
}
POINTS = 10
"""Points tried of each command in the default suite; all of them are in the long one."""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a plan, a profile, readings and files of the user's own."""
    path = make_engine_dir(tmp_path_factory.mktemp("before") / "engines").path
    commands.profile(path)
    commands.plan(path)
    for name, content in OWN_FILES.items():
        (path / name).write_bytes(content)
    return path


@pytest.fixture(scope="module", autouse=True)
def own_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_some_points(name: str, before: Path, tmp_path: Path) -> None:
    check_points(
        COMMANDS[name],
        before,
        tmp_path,
        lambda points: random.Random(name).sample(points, min(POINTS, len(points))),
    )


@pytest.mark.long
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_every_point(name: str, before: Path, tmp_path: Path) -> None:
    check_points(COMMANDS[name], before, tmp_path, lambda points: points)


def test_a_first_build_that_is_killed_leaves_nothing_that_loads(tmp_path: Path) -> None:
    points = count_points(commands.compile, tmp_path / "counted")
    for point in random.Random(0).sample(range(1, points + 1), POINTS):
        path = tmp_path / str(point)
        kill_at(commands.compile, path, point)
        try:
            assert_whole(path)
        except EngineDirError as error:
            assert "etbac compile" in str(error)  # noqa: PT017
        commands.compile(path)
        assert_whole(path)
        assert_nothing_left_over(path)


def test_a_set_beside_another_that_is_killed_leaves_the_other(tmp_path: Path) -> None:
    commands.engines(tmp_path / "engines")
    points = count_points(commands.engines, Path(shutil.copytree(tmp_path / "engines", tmp_path / "counted")))
    for point in random.Random(0).sample(range(1, points + 1), POINTS):
        path = Path(shutil.copytree(tmp_path / "engines", tmp_path / str(point)))
        kill_at(commands.engines, path, point)
        assert_whole(path)
        sets = {engines.folder: engines for engines in EngineDir.open(path).engine_sets().values()}
        assert sets["engines/onnxruntime-cpu-fp32"].is_built_here()


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
        assert sum(EngineDir.open(path).readings().values()) >= 1
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
