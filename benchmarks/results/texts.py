"""WordNet's nouns told apart by their glosses, as a CSV file of texts and labels."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.data import wordnet

CLASSES = 12
"""The subjects (lexicographer files) that most nouns have."""
TEST = 5_000


def write_glosses(folder: Path, count: int) -> None:
    """`count` glosses of the commonest subjects in random order, without their examples: the last TEST are test.csv."""
    lines = [line for line in (wordnet() / "data.noun").read_text().splitlines() if line[:1].isdigit()]
    pairs = [(gloss.split('; "')[0], head.split()[1]) for head, gloss in (line.split(" | ", 1) for line in lines)]
    common = {subject for subject, _ in Counter(subject for _, subject in pairs).most_common(CLASSES)}
    texts = sorted({pair for pair in pairs if pair[1] in common})
    order = np.random.default_rng(0).permutation(len(texts))[:count]
    for name, rows in (("train", order[:-TEST]), ("test", order[-TEST:])):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("text", "label"))
            writer.writerows(texts[row] for row in rows)
