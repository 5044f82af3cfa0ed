"""Sentences whose words say their class, a vocabulary of BERT's word pieces for them, and CSV and JSONL files."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

GOOD = ("good", "fine", "bright", "warm")
BAD = ("bad", "dull", "dark", "cold")
OTHER = ("the", "a", "film", "day", "song", "was", "it", "very", "and", "quite", "never", "long")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
PIECES = (*",.'\"!?-", *LETTERS, *(f"##{letter}" for letter in LETTERS))


def write_vocabulary(folder: Path) -> Path:
    """vocab.txt and tokenizer_config.json, as BERT's checkpoints have them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in (*SPECIAL, *PIECES, *OTHER, *GOOD, *BAD)))
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "pad_token": "[PAD]"}))
    return folder


def sentences(count: int, seed: int = 0) -> tuple[list[str], list[int]]:
    """Sentences and whether each holds a good word (1) or a bad one (0)."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count).tolist()
    made = []
    for label in labels:
        words = [*random.choice(OTHER, 6), random.choice(GOOD if label else BAD)]
        made.append(" ".join(random.permutation(words)))
    return made, labels


def write_csv(path: Path, columns: dict[str, Sequence[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def write_jsonl(path: Path, columns: dict[str, Sequence[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write(folder: Path, train: int = 90, test: int = 20) -> Path:
    """train.csv and test.csv with the columns text and label ("good", "bad")."""
    for seed, (part, count) in enumerate((("train", train), ("test", test))):
        texts, labels = sentences(count, seed)
        write_csv(folder / f"{part}.csv", {"text": texts, "label": [("bad", "good")[label] for label in labels]})
    return folder
