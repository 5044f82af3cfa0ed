"""What commands do to an engine directory of `two_blocks`, as plain functions that a child process can run."""

from __future__ import annotations

from pathlib import Path

from support.kill_points import Command
from support.two_blocks import add_files, make_weights

from etbac.contract import Plan
from etbac.engine_dir import EngineDir, Writer, count_reading, write_plan, write_profile

NAME = "onnxruntime-cpu-fp32"


def rebuild(path: Path) -> None:
    """With other weights than those that `make_engine_dir` takes by default."""
    with Writer(path) as writer:
        writer.commit(add_files(writer, make_weights(seed=1)))


def plan(path: Path) -> None:
    engine_dir = EngineDir.open(path)
    count_reading(engine_dir, "abc")
    write_plan(engine_dir, NAME, Plan((3,), {3: 0.7}, precision=0.9, certified=False))


def profile(path: Path) -> None:
    write_profile(EngineDir.open(path), NAME, '{"measured": 2}', "batch,ms\n2,3\n")


COMMANDS: dict[str, Command] = {"rebuild": rebuild, "plan": plan, "profile": profile}
