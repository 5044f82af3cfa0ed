"""What training exits costs: against a forward pass of the trunk, and by two processes against one."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import save_file

from benchmarks import data
from benchmarks.results.garments import write_garments
from benchmarks.results.row import QUICK
from etbac.models import tasks
from etbac.models.attach import ExitNetwork, attach_exits
from etbac.models.data.fashion_mnist import FashionMnist
from etbac.models.data.parts import Subset
from etbac.models.resnet import cifar_resnet
from etbac.training.batches import Place, Rows, epoch_batches, read
from etbac.training.frozen import FrozenTrunk
from etbac.training.log import Log
from etbac.training.loop import Context, Loop
from etbac.training.options import ExitOptions
from etbac.training.progress import Silent
from etbac.training.resume import Resume
from etbac.training.stages import ExitStage, Sets

EXITS = [3, 6, 9, 12]
SAMPLES = 1_024 if QUICK else 4_096
ROUNDS = 1 if QUICK else 5
EPOCHS = 3


@dataclass(frozen=True)
class Cost:
    """`epoch`: seconds of an epoch of four exits on a frozen ResNet-32 ÷ seconds of its forward pass over the same
    pictures, both on all threads. `together`: pictures a second of two processes of one thread each ÷ one such process.
    `apart`: the largest difference between their losses after an epoch."""

    epoch: float
    together: float
    apart: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure() -> Cost:
    folder = data.fashion_mnist()
    part = Subset(FashionMnist().open(folder).parts["train"], np.arange(SAMPLES))
    with tempfile.TemporaryDirectory() as scratch:
        epoch = exits_epoch(part, Path(scratch))
        together, apart = two_processes(Path(scratch))
    return Cost(epoch, together, apart)


def exits_epoch(part: Subset, scratch: Path) -> float:
    """The median of rounds, the two measured in turn."""
    inputs, _ = next(read(part, [np.arange(2)]))
    network = attach_exits(cifar_resnet(32, in_channels=1), "classification", EXITS, example_inputs=inputs)
    forward_pass(network, part)
    return median(train_once(network, part, scratch) / forward_pass(network, part) for _ in range(ROUNDS))


def forward_pass(network: ExitNetwork, part: Subset) -> float:
    """Seconds in which the trunk alone answers all of these."""
    network.eval()
    start = time.perf_counter()
    with torch.inference_mode():
        for inputs, _ in read(part, batches(part)):
            network.trunk(**inputs)
    return time.perf_counter() - start


def train_once(network: ExitNetwork, part: Subset, scratch: Path) -> float:
    """Seconds of one epoch of the exits, in which the trunk runs too."""
    accelerator = Accelerator(cpu=True)
    context = Context(accelerator, 0, Resume(scratch / "none", "", {}, False), Log(None, None), Silent(), np.inf)
    trunk = FrozenTrunk(network, accelerator.device, nullcontext)
    sets = Sets(part, Subset(part, np.arange(2)))
    stage = ExitStage(network, tasks.get("classification"), context, sets, ExitOptions(epochs=1), trunk)
    start = time.perf_counter()
    Loop(context, stage, stage.options, len(part)).run()
    return time.perf_counter() - start


def batches(part: Subset) -> list[Rows]:
    return epoch_batches(len(part), ExitOptions().batch_size, Place(), 0, 0)


def two_processes(scratch: Path) -> tuple[float, float]:
    """Throughput of two processes ÷ that of one with twice the batch, and how far apart their losses are."""
    small = scratch / "data"
    small.mkdir()
    write_garments(small, SAMPLES)
    weights = scratch / "trunk.safetensors"
    torch.manual_seed(0)
    save_file(cifar_resnet(32, in_channels=1).state_dict(), weights)
    seconds, losses = zip(*(train_together(each, small, weights, scratch) for each in (1, 2)), strict=True)
    return seconds[0] / seconds[1], float(np.abs(np.subtract(*losses)).max())


def train_together(processes: int, folder: Path, weights: Path, scratch: Path) -> tuple[float, list[float]]:
    """Seconds of an epoch, the median but for the first, and the losses of all."""
    table = scratch / f"{processes}.csv"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    what = ["train", "classification", "--model", "resnet32", "--from", str(weights), "--data", str(folder)]
    exits = ["--exits", ",".join(map(str, EXITS)), "--head-options", json.dumps({"dropout": 0.0})]
    how = ["--exit-epochs", str(EPOCHS), "--exit-batch-size", str(256 // processes), "--cache-gb", "0"]
    out = ["--losses", str(table), "--out", str(scratch / f"{processes}.pt")]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*launch, "-m", "etbac", *what, *exits, *how, *out], env=one_thread, check=True, capture_output=True)
    with table.open(newline="") as file:
        lines = list(csv.DictReader(file))
    return median(float(line["epoch_s"]) for line in lines[1:]), [float(line["loss"]) for line in lines]
