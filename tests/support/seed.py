"""`make seed`: every job of the original, from a small sample in the published form to a running chain.

Each row trains two steps of the trunk and two of the exits, compiles, profiles, plans (on so few samples nothing can be
certified) and runs. Networks have their real sizes and random weights, so no figure says anything about precision.
Tasks named after the module: their jobs alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from support.published import cifar10, cityscapes, glue, image_folder, mpii, speech_commands, texts

from benchmarks.measures import verdict

TRAINED, STEPS = 24, 2
"""Samples to train on, about, and steps of an epoch."""
STAGES = ("train", "compile", "profile", "plan", "run")

console = Console(width=150, highlight=False)


@dataclass(frozen=True)
class Job:
    """`make` writes the data into a folder; `form`: from which documentation their form is known."""

    name: str
    task: str
    form: str
    make: Callable[[Path], object]
    loader: str
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    further: Sequence[str] = ()

    def train(self, folder: Path) -> list[str]:
        data = ["--data", str(folder / "data"), "--loader", self.loader, "--out", str(folder / "model.pt")]
        model = ["--model", self.model, "--model-options", json.dumps(self.options)]
        batch = str(TRAINED // STEPS)
        short = ["--epochs", "1", "--batch-size", batch, "--exit-epochs", "1", "--exit-batch-size", batch]
        further = [part.format(folder=folder) for part in self.further]
        return ["train", self.task, *model, *data, *short, "--scales", "1", "--exits", "auto", *further]

    def commands(self, folder: Path) -> dict[str, list[str]]:
        engines = ["--engine-dir", str(folder / "engines")]
        return {
            "train": self.train(folder),
            "compile": ["compile", str(folder / "model.pt"), "--no-plan", "--max-batch", "4", *engines],
            "profile": ["profile", "--budget", "5", "--batch-sizes", "1,4", *engines],
            "plan": ["plan", "--precision", "0.9968", "--uncertified", *engines],
            "run": ["run", *engines],
        }


def _bert(folder: Path) -> None:
    glue.write_tsv(folder, "cola", train=36, dev=8)
    texts.write_vocabulary(folder.parent / "tokenizer")


JOBS = (
    Job(
        "VGG16 on CIFAR-10",
        "classification",
        "Krizhevsky 2009, the python version's batches",
        lambda folder: cifar10.write(folder, each=8, test=8),
        "cifar10",
        "vgg16",
    ),
    Job(
        "ResNet-50 on ImageNet",
        "classification",
        "ILSVRC 2012 unpacked into train/<wnid>/ and val/<wnid>/",
        lambda folder: image_folder.write(folder, train=12, val=4, side=260),
        "image-folder",
        "resnet50",
    ),
    Job(
        "Swin-T on ImageNet",
        "classification",
        "ILSVRC 2012 unpacked into train/<wnid>/ and val/<wnid>/",
        lambda folder: image_folder.write(folder, train=12, val=4, side=260),
        "image-folder",
        "transformers",
        {"architecture": "SwinForImageClassification", "config": {}},
    ),
    Job(
        "pose ResNet-101, 384 × 384, on MPII",
        "pose",
        "simple baselines' train.json and valid.json (Xiao et al. 2018); rendered figures",
        lambda folder: mpii.write(folder, train=36, valid=6),
        "mpii",
        "pose-resnet101",
        further=("--preprocess", "height=384", "--preprocess", "width=384"),
    ),
    Job(
        "DeepLab ResNet-50 on Cityscapes",
        "segmentation",
        "cityscapesScripts' README: leftImg8bit/ and gtFine/",
        lambda folder: cityscapes.write(folder, train=18, val=3, size=(256, 128)),
        "cityscapes",
        "deeplab-resnet50",
        further=("--preprocess", "height=128", "--preprocess", "width=256"),
    ),
    Job(
        "BERT-base on GLUE (CoLA)",
        "text",
        "gluebenchmark.com's TSV files (Wang et al. 2019)",
        _bert,
        "glue",
        "transformers",
        {"architecture": "BertForSequenceClassification", "config": {"vocab_size": 200}},
        (
            "--data-option",
            "task_name=cola",
            "--preprocess",
            "tokenizer={folder}/tokenizer",
            "--preprocess",
            "max_length=32",
        ),
    ),
    Job(
        "Wav2Vec2-base on Speech Commands",
        "speech",
        "the data set's README (Warden 2018)",
        lambda folder: speech_commands.write(folder, speakers=50, takes=1),
        "speech-commands",
        "transformers",
        {"architecture": "Wav2Vec2ForSequenceClassification", "config": {}},
    ),
)


@dataclass(frozen=True)
class Row:
    """Seconds of each stage that was reached, and what the one that failed has said."""

    job: Job
    seconds: Mapping[str, float]
    failure: str | None


def main() -> int:
    asked = sys.argv[1:]
    rows = [do(job) for job in JOBS if job.task in asked or not asked]
    table = Table("job of the original", "the sample's form", *(f"{stage} s" for stage in STAGES), "")
    for row in rows:
        each = [f"{row.seconds[stage]:.1f}" if stage in row.seconds else "–" for stage in STAGES]
        table.add_row(row.job.name, row.job.form, *each, row.failure or "ok")
    console.print(table)
    passed = not any(row.failure for row in rows)
    print(verdict("make seed", passed, []))
    return 0 if passed else 1


def do(job: Job) -> Row:
    print(f"{job.name} …", flush=True)
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        job.make(folder / "data")
        for stage, command in job.commands(folder).items():
            start = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-m", "etbac", *command], capture_output=True, text=True, check=False
            )
            seconds[stage] = time.monotonic() - start
            failed = done.returncode != 0
            print(f"  {stage}: {seconds[stage]:.1f} s{', failed' if failed else ''}", flush=True)
            if failed:
                lines = done.stderr.strip().splitlines() or ["it said nothing"]
                return Row(job, seconds, f"{stage}: {lines[-1]}")
    return Row(job, seconds, None)


if __name__ == "__main__":
    sys.exit(main())
