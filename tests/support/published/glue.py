"""GLUE's nine tasks as the published TSV folders (gluebenchmark.com/tasks) and as nyu-mll/glue's parquet files.

Each TSV file has the columns of its task's own archive, in their order; CoLA's have no header; nothing is quoted, and
some sentences hold a lone quotation mark; QQP's training file has a row that is cut in two.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support.published.texts import sentences

FOLDERS = {
    "cola": "CoLA",
    "sst2": "SST-2",
    "mrpc": "MRPC",
    "qqp": "QQP",
    "stsb": "STS-B",
    "mnli": "MNLI",
    "qnli": "QNLI",
    "rte": "RTE",
    "wnli": "WNLI",
}
HEADERS = {
    "cola": "",
    "sst2": "sentence label",
    "mrpc": "Quality,#1 ID,#2 ID,#1 String,#2 String",
    "qqp": "id qid1 qid2 question1 question2 is_duplicate",
    "stsb": "index genre filename year old_index source1 source2 sentence1 sentence2 score",
    "mnli": "index promptID pairID genre sentence1_binary_parse sentence2_binary_parse sentence1_parse sentence2_parse "
    "sentence1 sentence2 label1 gold_label",
    "qnli": "index question sentence label",
    "rte": "index sentence1 sentence2 label",
    "wnli": "index sentence1 sentence2 label",
}
TEXTS = {
    "cola": ("sentence",),
    "sst2": ("sentence",),
    "mrpc": ("#1 String", "#2 String"),
    "qqp": ("question1", "question2"),
    "stsb": ("sentence1", "sentence2"),
    "mnli": ("sentence1", "sentence2"),
    "qnli": ("question", "sentence"),
    "rte": ("sentence1", "sentence2"),
    "wnli": ("sentence1", "sentence2"),
}
HUB_TEXTS = {**TEXTS, "mrpc": ("sentence1", "sentence2"), "mnli": ("premise", "hypothesis")}
LABELS = {"mrpc": "Quality", "qqp": "is_duplicate", "stsb": "score", "mnli": "gold_label"}
NAMES = {
    "mnli": ("entailment", "neutral", "contradiction"),
    "qnli": ("entailment", "not_entailment"),
    "rte": ("entailment", "not_entailment"),
}
"""Classes that the TSV files write as words; the parquet files number them in this order."""


def samples(task: str, count: int, seed: int) -> tuple[list[tuple[str, ...]], list[float]]:
    """Texts and labels: classes by number, or STS-B's scores of 0 to 5. Every second first sentence comes twice."""
    first, labels = sentences(count, seed)
    second, _ = sentences(count, seed + 100)
    first = [f'{text} "' if place % 7 == 0 else text for place, text in enumerate(first)]
    random = np.random.default_rng(seed)
    if len(TEXTS[task]) == 1:
        return [(text,) for text in first], [float(label) for label in labels]
    pairs = [(first[place - place % 2], second[place]) for place in range(count)]
    if task == "stsb":
        return pairs, [round(float(score), 3) for score in random.uniform(0, 5, count)]
    classes = len(NAMES.get(task, ("no", "yes")))
    return pairs, [float(label) for label in random.integers(0, classes, count)]


def write_tsv(folder: Path, task: str, train: int = 60, dev: int = 20) -> Path:
    where = folder / FOLDERS[task]
    where.mkdir(parents=True, exist_ok=True)
    dev_name = "dev_matched" if task == "mnli" else "dev"
    for seed, (name, count) in enumerate((("train", train), (dev_name, dev))):
        texts, labels = samples(task, count, seed)
        lines = [_row(task, place, text, label) for place, (text, label) in enumerate(zip(texts, labels, strict=True))]
        header = _header(task)
        if task == "qqp" and name == "train":
            lines[5:5] = ["133273\t213221\t213222\tHow was the film", "\tand the day?\t0"]
        mark = "\ufeff" if task == "mrpc" else ""
        content = "\n".join(["\t".join(header)] * bool(header) + lines) + "\n"
        (where / f"{name}.tsv").write_text(mark + content, encoding="utf-8", newline="\n")
    return folder


def write_parquet(folder: Path, task: str, train: int = 60, dev: int = 20) -> Path:
    from pyarrow import Table, parquet

    where = folder / task
    where.mkdir(parents=True, exist_ok=True)
    dev_name = "validation_matched" if task == "mnli" else "validation"
    for seed, (name, count) in enumerate((("train", train), (dev_name, dev))):
        texts, labels = samples(task, count, seed)
        columns = dict(zip(HUB_TEXTS[task], map(list, zip(*texts, strict=True)), strict=True))
        numbers = labels if task == "stsb" else [int(label) for label in labels]
        table = Table.from_pydict({**columns, "label": numbers, "idx": list(range(count))})
        parquet.write_table(table, where / f"{name}-00000-of-00001.parquet")
    return folder


def _header(task: str) -> list[str]:
    return HEADERS[task].split(",") if task == "mrpc" else HEADERS[task].split()


def _row(task: str, place: int, texts: tuple[str, ...], label: float) -> str:
    written = f"{label:.3f}" if task == "stsb" else str(int(label))
    if task in NAMES:
        written = NAMES[task][int(label)]
    if task == "cola":
        return "\t".join(("gj04", written, "" if written == "1" else "*", *texts))
    known = {**dict(zip(TEXTS[task], texts, strict=True)), LABELS.get(task, "label"): written}
    return "\t".join(known.get(column, str(place)) for column in _header(task))
