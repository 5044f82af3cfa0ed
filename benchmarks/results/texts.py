"""WordNet's nouns told apart by their glosses, as a CSV file of texts and labels."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from benchmarks.data import nouns, wordnet

CLASSES = 12
"""The subjects that most nouns have."""
TEST = 5_000


def write_glosses(folder: Path, count: int) -> None:
    """`count` different glosses in random order: the last TEST are test.csv."""
    texts = sorted(set(nouns(wordnet(), CLASSES)))
    order = np.random.default_rng(0).permutation(len(texts))[:count]
    for name, rows in (("train", order[:-TEST]), ("test", order[-TEST:])):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("text", "label"))
            writer.writerows(texts[row] for row in rows)
