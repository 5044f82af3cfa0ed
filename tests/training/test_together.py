"""Two processes on one machine, as `torchrun` starts them: gloo on the processor."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from etbac.models import checkpoint as checkpoints
from etbac.training import ExitOptions, RunOptions, TrunkOptions, train

NOT_DROPPED = '{"dropout": 0.0, "hidden": 8}'
ALIKE: dict[str, Any] = {"model": "resnet8", "model_options": {"width": 4}, "exits": [1, 2]}


@pytest.fixture(scope="module")
def trunk(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a trained trunk and no exits."""
    out = tmp_path_factory.mktemp("trunk") / "trunk.pt"
    options = TrunkOptions(epochs=1, batch_size=50, scales=(1.0,))
    train(out=out, data=data_folder, trunk=options, **{**ALIKE, "exits": "none"})
    return out


def command(processes: int, trunk: Path, data: Path, out: Path, batch: int, epochs: int = 4) -> list[str]:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    train_exits = ["-m", "etbac", "train", "classification", "--from", str(trunk), "--data", str(data)]
    how = ["--exits", "1,2", "--exit-epochs", str(epochs), "--exit-batch-size", str(batch)]
    rest = ["--head-options", NOT_DROPPED, "--losses", str(out.with_suffix(".csv")), "--out", str(out)]
    return [*launch, *train_exits, *how, *rest]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}


def losses(out: Path) -> list[float]:
    with out.with_suffix(".csv").open(newline="") as file:
        return [float(line["loss"]) for line in csv.DictReader(file) if line["stage"] == "exits"]


def test_two_processes_do_what_one_with_twice_the_batch_does(trunk: Path, data_folder: Path, tmp_path: Path) -> None:
    two, one = tmp_path / "two.pt", tmp_path / "one.pt"
    done = subprocess.run(
        command(2, trunk, data_folder, two, 25), env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("etbac compile") == 1  # one of them tells
    train(
        out=one,
        start=trunk,
        data=data_folder,
        exits=[1, 2],
        heads=ExitOptions(epochs=4, batch_size=50),
        head_options={"dropout": 0.0, "hidden": 8},
        run=RunOptions(losses=str(one.with_suffix(".csv"))),
    )
    assert losses(two) == pytest.approx(losses(one), abs=1e-3)
    heads, others = (checkpoints.load(path).network.heads.state_dict() for path in (two, one))
    for name, value in heads.items():
        torch.testing.assert_close(value, others[name], rtol=0, atol=0.02)


def test_killed_in_the_middle_they_go_on_to_the_same_losses(trunk: Path, data_folder: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole.pt", tmp_path / "killed.pt"
    epochs = 40
    subprocess.run(
        command(2, trunk, data_folder, whole, 25, epochs), env=environment(), check=True, capture_output=True
    )
    again = command(2, trunk, data_folder, killed, 25, epochs)
    running = subprocess.Popen(
        again, env=environment(), start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    log = killed.with_suffix(".csv")
    while running.poll() is None and not (log.exists() and len(log.read_text().splitlines()) > 3):
        time.sleep(0.02)
    launcher = psutil.Process(running.pid)
    for process in (launcher, *launcher.children(recursive=True)):
        process.kill()
    running.wait()
    assert not killed.exists()
    resumed = subprocess.run(again, env=environment(), capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert "going on from" in resumed.stderr
    assert losses(killed)[-1] == pytest.approx(losses(whole)[-1], abs=1e-6)


GONE = """
import sys
from pathlib import Path
from etbac.training import ExitOptions, train

start, data, out = sys.argv[1:]
train(out=out, start=start, data=data, exits=[1, 2], heads=ExitOptions(epochs=1, batch_size=25))
names = [task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")]
assert not [name for name in names if "gloo" in name], names
"""
"""A thread of a process group that outlives the training may abort the process as it ends."""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads' names are read in /proc")
def test_no_thread_of_their_group_outlives_the_training(trunk: Path, data_folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "gone.py"
    script.write_text(GONE)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = [str(script), str(trunk), str(data_folder), str(tmp_path / "out.pt")]
    done = subprocess.run([*launch, *arguments], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
