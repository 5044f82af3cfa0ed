"""What a block's features know already: a linear classifier on each, fitted to few samples in seconds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

DECAY = 1e-3
STEPS = 60


def probe(features: Tensor, labels: Tensor, classes: int, fresh: Tensor) -> Tensor:
    """Probabilities [m, classes] for `fresh` features [m, D] of a linear classifier fitted to `features` [n, D].

    Multinomial logistic regression on standardised features with weight decay, by L-BFGS. Source: Alain & Bengio,
    Understanding intermediate layers using linear classifier probes, ICLR 2017 (workshop).
    """
    mean, spread = features.mean(0), features.std(0) + 1e-6
    known, unknown = ((each - mean) / spread for each in (features, fresh))
    layer = nn.Linear(known.shape[1], classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        fit: Tensor = nn.functional.cross_entropy(layer(known), labels) + DECAY * layer.weight.square().sum()
        fit.backward()
        return fit

    optimizer.step(loss)
    with torch.no_grad():
        answers: Tensor = layer(unknown).softmax(1)
    return answers
