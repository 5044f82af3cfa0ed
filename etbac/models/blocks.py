"""Finding the blocks of a trunk by its structure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from etbac.errors import UnsupportedModelError
from etbac.models.capture import evaluating, first_float_tensor

FEWEST_LINKS = 0.5
"""The share of blocks that read what the one before gave, below which modules of one kind are no chain."""
NEARLY = 0.9
"""A chain with this share of the links of the best one counts as unbroken as that."""


@dataclass(frozen=True)
class State:
    """A tensor as it was at one moment: an operation in place (`x += shortcut`) makes another state of it."""

    tensor: Tensor
    version: int

    @staticmethod
    def of(value: object) -> State | None:
        tensor = first_float_tensor(value)
        return None if tensor is None else State(tensor, tensor._version)

    def same(self, other: State | None) -> bool:
        return other is not None and self.tensor is other.tensor and self.version == other.version


@dataclass(frozen=True)
class Call:
    """One call of a module: where it stands, what it read and what it gave."""

    path: str
    module: nn.Module
    read: State | None
    gave: State | None


def find_blocks(network: nn.Module, example_inputs: Mapping[str, Any]) -> list[str]:
    """Module paths of the trunk's blocks in the order in which they run; block k is entry k − 1.

    Blocks are modules of one kind, each called once, most of which read what the one before gave, as it is or handed
    through other modules (between stages). Among such kinds those that hold at least half of the parameters that any
    of them holds are the trunk; of these, the kinds with the fewest breaks in the chain (the convolutions of a residual
    block break off at its addition), and among them the finest: the blocks and not the stages of a ResNet, the layers
    and not the projections of a transformer.
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
    begun: list[State | None] = []

    def begin(args: object, kwargs: object) -> None:
        begun.append(State.of(args) or State.of(kwargs))

    def end(path: str, module: nn.Module, output: object) -> None:
        calls.append(Call(path, module, begun.pop(), State.of(output)))

    with ExitStack() as stack, evaluating(network):
        for path, module in network.named_modules():
            if not path:
                continue
            hooks = (
                module.register_forward_pre_hook(lambda _module, args, kwargs: begin(args, kwargs), with_kwargs=True),
                module.register_forward_hook(lambda module, _args, output, path=path: end(path, module, output)),
            )
            for hook in hooks:
                stack.callback(hook.remove)
        network(**example_inputs)
    return calls


def _kind(module: nn.Module) -> tuple[type[nn.Module], ...]:
    """A module's class; two plain containers are of one kind when their children are."""
    if type(module) is nn.Sequential:
        return (nn.Sequential, *map(type, module))
    return (type(module),)


def _linked(calls: list[Call], places: list[int]) -> float:
    """The share of neighbours of which the second reads what came from the first."""
    links = [_leads_to(calls, first, second) for first, second in pairwise(places)]
    return sum(links) / len(links) if links else 0.0


def _leads_to(calls: list[Call], first: int, second: int) -> bool:
    """Whether what one call gave reaches another through the calls between them alone."""
    reached = [calls[first].gave]
    for call in calls[first + 1 : second]:
        if _among(call.read, reached):
            reached.append(call.gave)
    return _among(calls[second].read, reached)


def _among(state: State | None, states: Sequence[State | None]) -> bool:
    return state is not None and any(state.same(other) for other in states)


def _parameters(group: list[Call]) -> int:
    return sum(parameter.numel() for call in group for parameter in call.module.parameters())
