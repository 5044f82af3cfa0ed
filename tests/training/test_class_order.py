from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support import tiny_transformers
from support.published import glue, texts

from etbac.training.begin import DataAsked, begin
from etbac.training.class_order import put_in_order
from etbac.training.example import example_inputs

OURS = ("entailment", "neutral", "contradiction")
THEIRS = {"0": "CONTRADICTION", "1": "NEUTRAL", "2": "ENTAILMENT"}


@pytest.mark.parametrize("architecture", ["BertForSequenceClassification", "RobertaForSequenceClassification"])
def test_a_network_answers_in_the_datas_order(tmp_path: Path, architecture: str) -> None:
    network = tiny_transformers.make(architecture, vocab_size=200, num_labels=3)
    network.save_pretrained(tmp_path / "model")
    texts.write_vocabulary(tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "id2label": THEIRS}))
    glue.write_tsv(tmp_path, "mnli")
    notes: list[str] = []
    asked = DataAsked("glue", tmp_path, {"task_name": "mnli"}, {"max_length": 12})
    begun = begin(None, tmp_path / "model", None, {}, asked, notes.append, "text")
    inputs = example_inputs(begun)
    with torch.no_grad():
        torch.testing.assert_close(begun.trunk.eval()(**inputs).logits, network(**inputs).logits[:, [2, 1, 0]])
    assert notes[-1] == "its classes were put in the data's order: entailment, neutral, contradiction"


@pytest.mark.parametrize(
    "config",
    [
        {"id2label": dict(enumerate(OURS))},
        {"id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}},
        {"id2label": {"0": "neutral", "1": "neutral", "2": "entailment"}},
        {"id2label": list(OURS)},
        {},
        None,
    ],
)
def test_other_names_change_nothing(tmp_path: Path, config: dict[str, object] | None) -> None:
    layer = torch.nn.Linear(4, 3)
    before = layer.weight.detach().clone()
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    assert not put_in_order(torch.nn.Sequential(layer), tmp_path, OURS)
    assert torch.equal(layer.weight, before)
