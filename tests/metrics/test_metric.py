import re
from pathlib import Path

import numpy as np
import pytest

from etbac import metrics
from etbac.errors import InputError, UsageError

CERTIFIED = {"accuracy", "agreement", "pckh", "pixel-accuracy"}


def test_means_of_scores_can_be_certified_and_others_not():
    assert {name for name, each in metrics.METRICS.items() if each.is_mean} == CERTIFIED
    assert [name for name, each in metrics.METRICS.items() if not each.needs_labels] == ["agreement"]


def test_a_mean_is_of_its_scores():
    accuracy = metrics.metric("accuracy")
    rows = accuracy.rows(np.eye(4, dtype=np.float32), [0, 1, 2, 0])
    assert rows.dtype == np.bool_
    assert accuracy.of(rows) == 0.75


@pytest.mark.parametrize("name", sorted(metrics.METRICS.keys() - {"agreement"}))
def test_a_model_with_several_fields_is_refused(name):
    with pytest.raises(InputError, match="this model has a, b"):
        metrics.metric(name).rows({"a": np.zeros((2, 2)), "b": np.zeros(2)}, np.zeros(2, int))


def test_an_unknown_metric_lists_the_known_ones():
    with pytest.raises(UsageError, match="accuracy, agreement, f1, mcc, miou, pckh, pearson, pixel-accuracy"):
        metrics.metric("bleu")


def test_the_document_names_every_metric():
    text = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text("utf-8")
    (table,) = re.findall(r"^## Metrics\n(.*?)^## ", text, re.S | re.M)
    first = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert set(re.findall(r"`([\w-]+)`", " ".join(first))) == set(metrics.METRICS)
