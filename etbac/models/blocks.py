"""Finding the blocks of a trunk by its structure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node, saved_tensors_hooks

from etbac.errors import UnsupportedModelError
from etbac.models.capture import evaluating, first_float_tensor

FEWEST_LINKS = 0.5
"""The share of blocks that read what the one before gave, below which modules of one kind are no chain."""
NEARLY = 0.9
"""A chain with this share of the links of the best one counts as unbroken as that."""


@dataclass(frozen=True)
class Call:
    """One call of a module: where it stands, and the operations that made what it read and what it gave."""

    path: str
    module: nn.Module
    read: Node | None
    gave: Node | None


def find_blocks(network: nn.Module, example_inputs: Mapping[str, Any]) -> list[str]:
    """Module paths of the trunk's blocks in the order in which they run; block k is entry k − 1.

    Blocks are modules of one kind, each called once, most of which read what comes from the one before and from no
    earlier one past it. Among such kinds those that hold at least half of the parameters that any of them holds are the
    trunk; of these, the kinds with the fewest breaks in the chain (the convolutions of a residual block break off at
    its addition), and among them the finest: the blocks and not the stages of a ResNet, the layers and not the
    projections of a transformer.
    """
    calls = _calls(network, example_inputs)
    times = Counter(call.path for call in calls)
    groups: dict[tuple[type[nn.Module], ...], list[int]] = defaultdict(list)
    for place, call in enumerate(calls):
        if times[call.path] == 1 and next(call.module.children(), None) is not None:
            groups[_kind(call.module)].append(place)
    linked = {kind: _linked(calls, places) for kind, places in groups.items()}
    chains = {kind: [calls[place] for place in groups[kind]] for kind, share in linked.items() if share >= FEWEST_LINKS}
    if not chains:
        raise UnsupportedModelError(
            f"no repeated blocks were found in {type(network).__name__}; name the modules after which exits shall sit, "
            "for example at=['features.3']"
        )
    trunk = max(map(_parameters, chains.values()))
    candidates = [kind for kind, group in chains.items() if 2 * _parameters(group) >= trunk]
    unbroken = NEARLY * max(linked[kind] for kind in candidates)
    blocks = max(
        (chains[kind] for kind in candidates if linked[kind] >= unbroken),
        key=lambda group: (len(group), _parameters(group)),
    )
    return [call.path for call in blocks]


def _calls(network: nn.Module, example_inputs: Mapping[str, Any]) -> list[Call]:
    """Every call of a module, in the order of their ends."""
    calls: list[Call] = []
    begun: list[Node | None] = []

    def begin(args: object, kwargs: object) -> None:
        begun.append(_made_by(args) or _made_by(kwargs))

    def end(path: str, module: nn.Module, output: object) -> None:
        calls.append(Call(path, module, begun.pop(), _made_by(output)))

    with ExitStack() as stack, evaluating(network), _recorded(network):
        for path, module in network.named_modules():
            if not path:
                continue
            hooks = (
                module.register_forward_pre_hook(lambda _module, args, kwargs: begin(args, kwargs), with_kwargs=True),
                module.register_forward_hook(lambda module, _args, output, path=path: end(path, module, output)),
            )
            for hook in hooks:
                stack.callback(hook.remove)
        network(**{name: _source(value) for name, value in example_inputs.items()})
    return calls


@contextmanager
def _recorded(network: nn.Module) -> Iterator[None]:
    """Within the block torch records which operation reads what which other gave; it keeps no values of theirs."""
    flags = {parameter: parameter.requires_grad for parameter in network.parameters()}
    try:
        for parameter in flags:
            parameter.requires_grad_(parameter.is_floating_point())
        with torch.enable_grad(), saved_tensors_hooks(lambda _tensor: None, lambda nothing: nothing):
            yield
    finally:
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)


def _source(value: Any) -> Any:
    """An input whose readers are recorded."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    return value.detach().requires_grad_().clone()


def _made_by(value: object) -> Node | None:
    tensor = first_float_tensor(value)
    return None if tensor is None else tensor.grad_fn


def _kind(module: nn.Module) -> tuple[type[nn.Module], ...]:
    """A module's class; two plain containers are of one kind when their children are."""
    if type(module) is nn.Sequential:
        return (nn.Sequential, *map(type, module))
    return (type(module),)


def _linked(calls: list[Call], places: list[int]) -> float:
    """The share of neighbours of which the second reads what came from the first alone."""
    group = [calls[place] for place in places]
    links = [_leads_to(group, place) for place, _ in enumerate(pairwise(group))]
    return sum(links) / len(links) if links else 0.0


def _leads_to(group: Sequence[Call], place: int) -> bool:
    """Whether what one call gave reaches the next call of its group, and nothing from before it does past it."""
    wanted = group[place].gave
    before = {group[0].read, *(call.gave for call in group[:place])} - {wanted}
    found, seen, waiting = False, set[Node](), [group[place + 1].read]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node in before:
            return False
        if node is wanted:
            found = True
        else:
            waiting.extend(earlier for earlier, _ in node.next_functions)
    return found


def _parameters(group: list[Call]) -> int:
    return sum(parameter.numel() for call in group for parameter in call.module.parameters())
