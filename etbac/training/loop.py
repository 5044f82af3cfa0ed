"""The one training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from etbac.errors import UsageError
from etbac.training.batches import Place, Rows, epoch_batches
from etbac.training.log import Log
from etbac.training.options import LoopOptions
from etbac.training.progress import Progress
from etbac.training.resume import Resume

CHECKS = 20
"""Steps after which the clock is looked at."""


class Stage(Protocol):
    """What a loop trains: the trunk, the exits, or both.

    `loss`: a module whose forward pass takes a batch's arguments and gives its loss. `parameters`: what is trained.
    `leaves_some_unused`: whether a pass may not read all of these.
    """

    name: str
    loss: nn.Module
    leaves_some_unused: bool

    def parameters(self) -> list[nn.Parameter]: ...

    def batches(self, batches: list[Rows], epoch: int, start: int) -> Iterator[tuple[Any, ...]]:
        """The arguments of `loss` for each of these batches of rows, which are the epoch's from step `start` on."""

    def judge(self) -> float:
        """Loss on the fit set after an epoch; the stage keeps what it wants to keep of it."""

    def state(self) -> Mapping[str, Any]:
        """What the stage itself remembers, beside the weights of `loss`."""

    def restore(self, state: Mapping[str, Any]) -> None: ...


@dataclass
class Context:
    """What all stages of a run share."""

    accelerator: Accelerator
    seed: int
    resume: Resume
    log: Log
    progress: Progress
    save_s: float

    @property
    def place(self) -> Place:
        return Place(self.accelerator.process_index, self.accelerator.num_processes)

    def sums(self, *own: float) -> list[float]:
        """Each added up over all processes, which all must call it."""
        of_this: Tensor = torch.tensor(own, device=self.accelerator.device, dtype=torch.float64)
        added: list[float] = self.accelerator.reduce(of_this, "sum").tolist()
        return added


@dataclass
class Loop:
    """Trains a stage on n samples to its last epoch, from where an interrupted run has left it.

    Every step draws from its own seed, so a run that goes on gives what an uninterrupted one gives.
    """

    context: Context
    stage: Stage
    options: LoopOptions
    n: int
    epoch: int = field(default=0, init=False)
    step: int = field(default=0, init=False)

    def run(self) -> None:
        """Train; the stage's module has its last weights afterwards."""
        context, options = self.context, self.options
        self._total, self._count, self._best, self._since = 0.0, 0.0, float("inf"), 0
        self._parameters = self.stage.parameters()
        self._optimizer = _optimizer(self._parameters, options)
        kept = context.resume.stages.get(self.stage.name)
        if kept is not None:
            self._restore(kept)
        if context.accelerator.ddp_handler is not None:
            context.accelerator.ddp_handler.find_unused_parameters = self.stage.leaves_some_unused
        self._module, self._optimizer = context.accelerator.prepare(self.stage.loss, self._optimizer)
        per_epoch = len(self._batches())
        done = self.epoch * per_epoch + self.step
        advance = context.progress.stage(self.stage.name, options.epochs * per_epoch, done)
        self._saved = time.monotonic()
        while not self._ended:
            self._run_epoch(per_epoch, advance)
        self._module = context.accelerator.unwrap_model(self._module)

    @property
    def _ended(self) -> bool:
        return self.epoch == self.options.epochs or 0 < self.options.stop_after <= self._since

    def _batches(self) -> list[Rows]:
        return epoch_batches(self.n, self.options.batch_size, self.context.place, self.context.seed, self.epoch)

    def _run_epoch(self, steps: int, advance: Callable[[int], None]) -> None:
        self._module.train()
        began = time.monotonic()
        batches = self._batches()[self.step :]
        for arguments in self.stage.batches(batches, self.epoch, self.step):
            self._train_on(arguments, steps)
            self.step += 1
            advance(1)
            if self._is_whole(self.step, steps) and self.step % CHECKS == 0 and self._is_late():
                self._save()
        total, count = self.context.sums(self._total, self._count)
        seconds = time.monotonic() - began
        loss, fit = total / count, self.stage.judge()
        self._since = 0 if fit < self._best else self._since + 1
        self._best = min(fit, self._best)
        self.epoch, self.step, self._total, self._count = self.epoch + 1, 0, 0.0, 0.0
        self._tell(loss, fit, seconds, steps)
        self._save()

    def _train_on(self, arguments: tuple[Any, ...], steps: int) -> None:
        accelerator = self.context.accelerator
        drawn_from = [self.context.seed, self.epoch, self.step, self.context.place.rank]
        torch.manual_seed(int(np.random.SeedSequence(drawn_from).generate_state(1)[0]))
        first = self.step - self.step % self.options.accumulate
        rate = self.options.rate((self.epoch + first / steps) / self.options.epochs)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        with accelerator.autocast():
            loss = self._loss(arguments)
        accelerator.backward(loss / min(self.options.accumulate, steps - first))
        self._total, self._count = self._total + loss.item(), self._count + 1
        if self._is_whole(self.step + 1, steps):
            if self.options.clip:
                accelerator.clip_grad_norm_(self._parameters, self.options.clip)
            self._optimizer.step()
            self._optimizer.zero_grad()

    def _loss(self, arguments: tuple[Any, ...]) -> Tensor:
        try:
            found: Tensor = self._module(*arguments)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UsageError(
                "batch normalisation needs two samples or more in every process' step, and there is one: ask for a "
                "larger batch size, fewer processes, or more data"
            ) from error
        return found

    def _is_whole(self, step: int, steps: int) -> bool:
        """Whether no gradient waits for further batches."""
        return step % self.options.accumulate == 0 or step == steps

    def _is_late(self) -> bool:
        """Whether it is time to save, by the clock of the first process."""
        late = time.monotonic() - self._saved > self.context.save_s
        place = self.context.place
        return late if place.world == 1 else self.context.sums(float(late and place.rank == 0))[0] > 0

    def _tell(self, loss: float, fit: float, seconds: float, steps: int) -> None:
        rate = self.options.rate(self.epoch / self.options.epochs)
        done = f"{self.stage.name}: epoch {self.epoch} of {self.options.epochs}"
        self.context.progress.note(f"{done}: loss {loss:.4f}, on the fit set {fit:.4f}")
        figures = {
            "epoch": self.epoch,
            "step": self.epoch * steps,
            "learning_rate": rate,
            "loss": loss,
            "fit_loss": fit,
            "epoch_s": seconds,
        }
        if self.context.accelerator.is_main_process:
            self.context.log.tell(self.stage.name, figures)

    def _save(self) -> None:
        accelerator = self.context.accelerator
        self._saved = time.monotonic()
        scaler = accelerator.scaler
        state = {
            "epoch": self.epoch,
            "step": self.step,
            "sums": self.context.sums(self._total, self._count),
            "best": [self._best, self._since],
            "module": accelerator.unwrap_model(self._module).state_dict(),
            "optimizer": None if self._ended else self._optimizer.state_dict(),  # written again at later stages' saves
            "scaler": None if scaler is None else scaler.state_dict(),
            "stage": self.stage.state(),
        }
        self.context.resume.save(self.stage.name, state)

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.epoch, self.step = state["epoch"], state["step"]
        if self.context.place.rank == 0:
            self._total, self._count = state["sums"]
        self._best, self._since = state["best"]
        self.stage.loss.load_state_dict(state["module"])
        if state["optimizer"] is not None:
            self._optimizer.load_state_dict(state["optimizer"])
        if state.get("scaler") is not None and self.context.accelerator.scaler is not None:
            self.context.accelerator.scaler.load_state_dict(state["scaler"])
        self.stage.restore(state["stage"])


def _optimizer(parameters: list[nn.Parameter], options: LoopOptions) -> torch.optim.Optimizer:
    decay = options.weight_decay
    if options.optimizer == "adamw":
        return torch.optim.AdamW(parameters, options.learning_rate, weight_decay=decay)
    return torch.optim.SGD(parameters, options.learning_rate, 0.9, weight_decay=decay, nesterov=True)
