"""The same network in plain PyTorch: the full model, compiled by Inductor, and with exits and a mask."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Any

import torch
from torch import Tensor, nn

from etbac.backends.interface import Array
from etbac.backends.onnxruntime_backend import thread_count
from etbac.models import heads
from etbac.models.attach import ExitNetwork, ExitSpec
from etbac.models.capture import first_float_tensor, prediction_of, submodule
from etbac.profiles.race import Batch

NO_COMPILER = "PyTorch's Inductor needs a C++ compiler, and there is none on this machine"


class Eager:
    """The full model, or what `torch.compile` made of it."""

    def __init__(self, trunk: Callable[..., Any]) -> None:
        torch.set_num_threads(thread_count())
        self._trunk = trunk

    def __call__(self, batch: Batch) -> Array:
        with torch.inference_mode():
            answer: Array = prediction_of(self._trunk(**_tensors(batch))).numpy()
        return answer


def compiled(trunk: nn.Module) -> Eager:
    """Each batch size is compiled for itself, on its first batch. What was compiled before is forgotten: PyTorch
    compiles a function a few times alone (recompile_limit), and from then on runs it as it is."""
    torch.compiler.reset()
    return Eager(torch.compile(trunk, dynamic=False))


def has_compiler() -> bool:
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++"))


class Masked:
    """Exits by forward hooks, gate max-prob: all rows go on, a mask remembers who was sure, and the pass is broken off
    when all were. Works with any trunk, which is not changed."""

    def __init__(
        self, network: ExitNetwork, thresholds: Mapping[int, float], temperatures: Mapping[int, float] | None = None
    ) -> None:
        torch.set_num_threads(thread_count())
        self._network = network
        self._exits = [spec for spec in network.exits if spec.id in thresholds]
        self._thresholds = thresholds
        self._temperatures = temperatures or {}

    def __call__(self, batch: Batch) -> Array:
        inputs = _tensors(batch)
        answers = _Answers()
        with torch.inference_mode(), ExitStack() as stack:
            for spec in self._exits:
                hook = submodule(self._network.trunk, spec.module).register_forward_hook(
                    lambda _m, _i, output, spec=spec: self._ask(spec, output, inputs, answers)
                )
                stack.callback(hook.remove)
            with suppress(_AllSureError):
                answers.take(prediction_of(self._network.trunk(**inputs)), None)
        return answers.given.numpy()

    def _ask(self, spec: ExitSpec, output: object, inputs: Mapping[str, Tensor], answers: _Answers) -> None:
        head, features = self._network.head(spec.id), first_float_tensor(output)
        assert features is not None
        prediction = head.classify(head.pool(features, **heads.read_by(head, inputs)))
        probabilities = (prediction / self._temperatures.get(spec.id, 1.0)).softmax(1)
        answers.take(prediction, probabilities.amax(1) >= self._thresholds[spec.id])


class _AllSureError(Exception):
    """Everybody has an answer: the rest of the pass is not needed."""


class _Answers:
    """`given` [B, C], and who has one."""

    def __init__(self) -> None:
        self._sure: Tensor | None = None

    def take(self, prediction: Tensor, sure: Tensor | None) -> None:
        if self._sure is None:
            self.given = prediction
            self._sure = torch.zeros(len(prediction), dtype=torch.bool) if sure is None else sure
        else:
            self.given = torch.where(self._sure[:, None], self.given, prediction)
            self._sure = self._sure if sure is None else self._sure | sure
        if sure is not None and bool(self._sure.all()):
            raise _AllSureError


def _tensors(batch: Batch) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in batch.items()}
