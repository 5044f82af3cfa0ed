"""GLUE: nine tasks of one or two sentences, as the published TSV folders or as the hub's parquet files.

Source: Wang et al. 2019, gluebenchmark.com/tasks; the parquet files are those of nyu-mll/glue, whose names of columns
and order of classes are taken here. The published test parts have no labels: the development part (of MNLI: the matched
one) is the test part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from etbac.errors import UsageError
from etbac.models.data.glue_files import ENTAILMENT, Form, read_parquet, read_tsv
from etbac.models.data.loader import Opened, of_kind
from etbac.models.data.parts import TextPart
from etbac.models.data.trees import refuse
from etbac.preprocessing import Preprocessing, TextPreprocessing

FORMS: Mapping[str, Form] = MappingProxyType(
    {
        "cola": Form("CoLA", ("sentence",), ("unacceptable", "acceptable"), "mcc", tsv=(3,), label=1, header=False),
        "sst2": Form("SST-2", ("sentence",), ("negative", "positive"), "accuracy"),
        "mrpc": Form(
            "MRPC",
            ("sentence1", "sentence2"),
            ("not_equivalent", "equivalent"),
            "f1",
            tsv=("#1 String", "#2 String"),
            label="Quality",
        ),
        "qqp": Form("QQP", ("question1", "question2"), ("not_duplicate", "duplicate"), "f1", label="is_duplicate"),
        "stsb": Form("STS-B", ("sentence1", "sentence2"), (), "pearson", label="score"),
        "mnli": Form(
            "MNLI",
            ("premise", "hypothesis"),
            ("entailment", "neutral", "contradiction"),
            "accuracy",
            tsv=("sentence1", "sentence2"),
            label="gold_label",
            test="_matched",
        ),
        "qnli": Form("QNLI", ("question", "sentence"), ENTAILMENT, "accuracy"),
        "rte": Form("RTE", ("sentence1", "sentence2"), ENTAILMENT, "accuracy"),
        "wnli": Form("WNLI", ("sentence1", "sentence2"), ("not_entailment", "entailment"), "accuracy"),
    }
)
TREE = """
{name}/train.tsv, {name}/dev{test}.tsv                              the published TSV files, or
{task}/train-00000-of-00001.parquet                          the hub's parquet files
{task}/validation{test}-00000-of-00001.parquet
or that folder's own files
"""


@dataclass(frozen=True)
class Glue:
    """The loader `glue`. `task_name`: cola, sst2, mrpc, qqp, stsb, mnli, qnli, rte or wnli.

    Of tasks with two sentences those with the same first one (a premise, a question) are one unit.
    """

    name: ClassVar[str] = "glue"
    task: ClassVar[str] = "text"

    task_name: str = "sst2"

    def __post_init__(self) -> None:
        if self.task_name not in FORMS:
            raise UsageError(f"GLUE has no task {self.task_name!r}; task_name is one of {', '.join(FORMS)}")

    @property
    def _form(self) -> Form:
        return FORMS[self.task_name]

    def check(self, folder: Path) -> None:
        if self._files(folder) is None:
            tree = TREE.format(name=self._form.folder, task=self.task_name, test=self._form.test)
            refuse(folder, f"GLUE's {self._form.folder} as published", tree, "its training and development files")

    def open(self, folder: Path, preprocessing: Preprocessing | None = None) -> Opened:
        self.check(folder)
        how = of_kind(self, preprocessing, TextPreprocessing, None)
        files = self._files(folder)
        assert files is not None
        read = read_tsv if files[0][0].suffix == ".tsv" else read_parquet
        train, test = (TextPart(partial(read, each, self._form), how) for each in files)
        return Opened({"train": train, "test": test}, self._form.classes, how, self._form.metric)

    def _files(self, folder: Path) -> tuple[list[Path], list[Path]] | None:
        """The training and the development files, of the first form that is there."""
        form = self._form
        for place in (folder / form.folder, folder / self.task_name, folder):
            tsv = ([place / "train.tsv"], [place / f"dev{form.test}.tsv"])
            if all(file.is_file() for files in tsv for file in files):
                return tsv
            parquet = (sorted(place.glob("train-*.parquet")), sorted(place.glob(f"validation{form.test}-*.parquet")))
            if all(parquet):
                return parquet
        return None
