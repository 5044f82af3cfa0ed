"""Training exit heads on a frozen trunk: its features are computed once, pooled, and kept in memory."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from etbac.models.attach import ExitNetwork
from etbac.models.capture import evaluating


@dataclass(frozen=True)
class ExitOptions:
    """How exit heads are trained.

    The loss is (1 − distillation) × cross-entropy with the labels + distillation × T² × Kullback-Leibler divergence
    from the full model's answer, both softened by the temperature T (Hinton, Vinyals & Dean 2015). `views`: how many
    versions of each picture the heads see: 1, or 2 with its mirror image.
    """

    epochs: int = 12
    batch_size: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    distillation: float = 0.0
    temperature: float = 2.0
    views: int = 1


@dataclass(frozen=True)
class Features:
    """What the heads read, [N, D] by exit id, with the full model's logits [N, classes] and the labels int64 [N]."""

    pooled: Mapping[int, Tensor]
    prediction: Tensor
    labels: Tensor


def pooled_features(
    network: ExitNetwork,
    name: str,
    images: Tensor,
    labels: Tensor,
    advance: Callable[[int], None],
    batch_size: int = 250,
    views: int = 1,
) -> Features:
    """One pass of the frozen trunk over pictures [N, C, H, W] (input `name`) for each view; `advance` by
    each batch's size."""
    parts: dict[int, list[Tensor]] = {spec.id: [] for spec in network.exits}
    predictions = []
    with evaluating(network):
        for view in range(views):
            for batch in images.split(batch_size):
                batch = batch.flip(3) if view else batch
                features, prediction = network.features(**{name: batch})
                for exit_id, found in features.items():
                    parts[exit_id].append(network.head(exit_id).pool(found))
                predictions.append(prediction)
                advance(len(batch))
    pooled = {exit_id: torch.cat(found) for exit_id, found in parts.items()}
    return Features(pooled, torch.cat(predictions), labels.repeat(views))


class ExitTrainer:
    """Trains all heads of `network` side by side on `train`; each keeps its best epoch on `fit`.

    Every epoch draws from its own seed, so a run that goes on from `state()` gives what an uninterrupted one gives.
    """

    def __init__(self, network: ExitNetwork, train: Features, fit: Features, options: ExitOptions, seed: int) -> None:
        self.network, self.train, self.fit = network, train, fit
        self.options, self.seed = options, seed
        self.epoch = 0
        self.best: dict[int, tuple[float, dict[str, Tensor]]] = {}
        self.optimizer = torch.optim.AdamW(
            network.heads.parameters(), options.learning_rate, weight_decay=options.weight_decay
        )

    def state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "best": self.best,
            "heads": self.network.heads.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.epoch, self.best = state["epoch"], dict(state["best"])
        self.network.heads.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])

    def run_epoch(self) -> None:
        """Train one epoch and remember each head that is better on the fit set than it was before."""
        torch.manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.train.labels))
        steps = max(len(order) // self.options.batch_size, 1)
        self.network.heads.train()
        for step in range(steps):
            rows = order[step * self.options.batch_size : (step + 1) * self.options.batch_size]
            progress = (self.epoch + step / steps) / self.options.epochs
            self._step(rows, self.options.learning_rate * 0.5 * (1 + math.cos(math.pi * progress)))
        self.epoch += 1
        self._keep_best()

    def finish(self) -> None:
        """Give every head its best epoch's weights."""
        for exit_id, (_, weights) in self.best.items():
            self.network.head(exit_id).load_state_dict(weights)
        self.network.heads.eval()

    def _step(self, rows: Tensor, rate: float) -> None:
        loss = torch.stack([self._loss(exit_id, self.train, rows) for exit_id in self.train.pooled]).sum()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _loss(self, exit_id: int, of: Features, rows: Tensor | slice) -> Tensor:
        logits = self.network.head(exit_id).classify(of.pooled[exit_id][rows])
        weight, temperature = self.options.distillation, self.options.temperature
        loss = (1 - weight) * nn.functional.cross_entropy(logits, of.labels[rows])
        if weight:
            answer = (logits / temperature).log_softmax(1)
            teacher = (of.prediction[rows] / temperature).log_softmax(1)
            divergence = nn.functional.kl_div(answer, teacher, reduction="batchmean", log_target=True)
            loss = loss + weight * temperature**2 * divergence
        return loss

    def _keep_best(self) -> None:
        with evaluating(self.network.heads):
            for exit_id in self.fit.pooled:
                loss = self._loss(exit_id, self.fit, slice(None)).item()
                if exit_id not in self.best or loss < self.best[exit_id][0]:
                    self.best[exit_id] = (loss, copy.deepcopy(self.network.head(exit_id).state_dict()))
