"""Attaching exits to any torch module, by module path; the module itself is left as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from torch import Tensor, nn

from etbac.contract import TensorSpec
from etbac.errors import UsageError, one_line
from etbac.models import heads, tasks
from etbac.models.blocks import find_blocks
from etbac.models.capture import evaluating, features_at
from etbac.models.cost import evenly, work_of

PREDICTION = "prediction"
MASK = "attention_mask"
"""The input by which models tell tokens from padding; the name that transformers' models have for it."""


@dataclass(frozen=True)
class ExitSpec:
    """An exit: its id, the path of the module whose features it reads, its head's name and options."""

    id: int
    module: str
    head: str
    options: Mapping[str, Any] = field(default_factory=dict)


class ExitNetwork(nn.Module):
    """A trunk with exit heads. `forward(**inputs)` gives {"exit_<id>": prediction, …, "prediction": the full model's},
    and `exit_<id>.confidence` where a head says how sure it is.

    `inputs` says what the trunk takes: a TensorSpec each, in order, with "batch" on the batch axis.
    """

    def __init__(
        self, trunk: nn.Module, exits: Sequence[ExitSpec], inputs: Sequence[TensorSpec], task: str = "classification"
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.exits = tuple(exits)
        self.inputs = tuple(inputs)
        self.task = task
        self.heads = nn.ModuleDict({str(spec.id): heads.build(spec.head, spec.options) for spec in exits})

    def forward(self, **inputs: Any) -> dict[str, Tensor]:
        pooled, prediction = self.pooled(**inputs)
        answers = {}
        for exit_id, found in pooled.items():
            head = self.head(exit_id)
            for name, answer in head.fields(head.classify(found)).items():
                answers[f"exit_{exit_id}" if name == PREDICTION else f"exit_{exit_id}.{name}"] = answer
        return {**answers, PREDICTION: prediction}

    def pooled(self, **inputs: Any) -> tuple[dict[int, Tensor], Tensor]:
        """What each exit's head classifies, by exit id, and the full model's prediction: all that the trunk gives."""
        features, prediction = self.features(**inputs)
        found = {}
        for exit_id, tensor in features.items():
            head = self.head(exit_id)
            found[exit_id] = head.pool(tensor, **heads.read_by(head, inputs))
        return found, prediction

    def features(self, **inputs: Any) -> tuple[dict[int, Tensor], Tensor]:
        """What each exit's head reads, by exit id, and the full model's prediction."""
        found, prediction = features_at(self.trunk, [spec.module for spec in self.exits], inputs)
        return {spec.id: found[spec.module] for spec in self.exits}, prediction

    def head(self, exit_id: int) -> heads.Head:
        return cast(heads.Head, self.heads[str(exit_id)])

    def with_exits(self, ids: Sequence[int]) -> ExitNetwork:
        """The same network with only these exits; trunk and heads are shared, not copied."""
        known = {spec.id: spec for spec in self.exits}
        unknown = [exit_id for exit_id in ids if exit_id not in known]
        if unknown:
            have = ", ".join(map(str, known))
            raise UsageError(f"this model has no exit {unknown[0]}; it has exits {have}")
        network = ExitNetwork(self.trunk, [known[exit_id] for exit_id in sorted(ids)], self.inputs, self.task)
        for exit_id in ids:
            network.heads[str(exit_id)] = self.heads[str(exit_id)]
        return network.train(self.training)


def attach_exits(
    model: nn.Module,
    task: str = "classification",
    at: str | Sequence[int] | Sequence[str] = "auto",
    *,
    example_inputs: Mapping[str, Tensor],
    head: str | None = None,
    head_options: Mapping[str, Any] | None = None,
) -> ExitNetwork:
    """Give `model` exits for a task: classification, pose, segmentation, text or speech.

    `at`: "auto" (up to seven, evenly in work, the first block among them), "all" (every block but the last), block
    numbers counted from 1, or module paths. Exit ids are the block numbers, or 1, 2, … in the list of module paths.
    `example_inputs`: the model's inputs by name, each with the batch on axis 0; one forward pass of them finds the
    shapes of the features. `head` names an exit head for all exits; left out, the task chooses by the features' shape.
    `head_options` are handed to every head. Heads are in the model's mode, training or evaluation; those of tokens
    leave out the padding that `attention_mask` marks, where the model has such an input.

    Raises UsageError for a task, block, path or head that does not exist, UnsupportedModelError for a model whose
    blocks are not found, a module that never runs or runs twice, or features that no head fits.
    """
    kind = tasks.get(task)
    with evaluating(model):
        places = _places(model, at, example_inputs)
        features, prediction = features_at(model, list(places.values()), example_inputs)
    kind.check(prediction, example_inputs)
    specs = []
    for exit_id, path in places.items():
        name, options = _head(kind, head, features[path], prediction, path, model)
        options = {**options, **_mask(name, features[path], example_inputs), **(head_options or {})}
        specs.append(ExitSpec(exit_id, path, name, options))
    try:
        network = ExitNetwork(model, specs, describe(example_inputs), task)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"a head cannot be made with {dict(head_options or {})} ({type(error).__name__}: {one_line(error)})"
        ) from error
    network.heads.to(prediction.device)
    for spec in specs:
        network.head(spec.id).start_from(model)
    network.training = model.training
    network.heads.train(model.training)
    return network


def _head(
    task: tasks.Task, named: str | None, features: Tensor, prediction: Tensor, path: str, model: nn.Module
) -> tuple[str, dict[str, Any]]:
    """The head that was named, or the task's own for these features."""
    if named is None:
        return task.head_for(features, prediction, path, model)
    return named, heads.options_for(named, features, prediction, path)


def _mask(head: str, features: Tensor, example_inputs: Mapping[str, Tensor]) -> dict[str, Any]:
    """The option `mask` of a head of tokens, where the model has a mask with one entry a token."""
    mask = example_inputs.get(MASK)
    fits = head == "token-mlp" and mask is not None and mask.shape == features.shape[:2]
    return {"mask": MASK} if fits else {}


def describe(example_inputs: Mapping[str, Tensor]) -> list[TensorSpec]:
    """What a model takes, seen in an example: every axis as in the example, but for the batch on axis 0."""
    return [
        TensorSpec(name, str(value.dtype).removeprefix("torch."), ("batch", *value.shape[1:]), 0)
        for name, value in example_inputs.items()
    ]


def _places(model: nn.Module, at: str | Sequence[Any], example_inputs: Mapping[str, Tensor]) -> dict[int, str]:
    """Exit id -> module path, in the order given."""
    if not isinstance(at, str) and at and all(isinstance(place, str) for place in at):
        return _distinct(dict(enumerate(at, start=1)))
    if at not in ("auto", "all") and (isinstance(at, str) or not at or not all(isinstance(n, int) for n in at)):
        raise UsageError(f"at={at!r}: give 'auto', 'all', block numbers like [3, 7, 12] or module paths")
    blocks = find_blocks(model, example_inputs)
    if at == "auto":
        ids = evenly(work_of(model, blocks, example_inputs))
    elif at == "all":
        ids = list(range(1, len(blocks))) or [1]
    else:
        ids = sorted(cast("Sequence[int]", at))
    wrong = [exit_id for exit_id in ids if not 1 <= exit_id <= len(blocks)]
    if wrong:
        raise UsageError(f"the model has no block {wrong[0]}; it has blocks 1 to {len(blocks)}")
    return _distinct({exit_id: blocks[exit_id - 1] for exit_id in ids}, len(ids))


def _distinct(places: dict[int, str], wanted: int | None = None) -> dict[int, str]:
    if len(set(places.values())) < (wanted or len(places)):
        raise UsageError(f"an exit is asked for twice: {', '.join(places.values())}; name each place once")
    return places
