"""Finding the blocks of a trunk by its structure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from etbac.errors import UnsupportedModelError
from etbac.models.capture import evaluating, first_float_tensor


@dataclass(frozen=True)
class Call:
    """One call of a module: where it stands, what it read and what it gave."""

    path: str
    module: nn.Module
    read: Tensor | None
    gave: Tensor | None


def find_blocks(network: nn.Module, example_inputs: Mapping[str, Any]) -> list[str]:
    """Module paths of the trunk's blocks in the order in which they run; block k is entry k − 1.

    Blocks are modules of one kind, each called once, most of which read what the one before gave. Among such kinds
    those that hold at least half of the parameters that any of them holds are the trunk, and the finest is taken: the
    blocks and not the stages of a ResNet, the layers and not the projections of a transformer.
    """
    calls = _calls(network, example_inputs)
    times = Counter(call.path for call in calls)
    groups: dict[tuple[type[nn.Module], ...], list[Call]] = defaultdict(list)
    for call in calls:
        if times[call.path] == 1:
            groups[_kind(call.module)].append(call)
    chains = [group for group in groups.values() if _is_chain(group)]
    if not chains:
        raise UnsupportedModelError(
            f"no repeated blocks were found in {type(network).__name__}; name the modules after which exits shall sit, "
            "for example at=['features.3']"
        )
    trunk = max(map(_parameters, chains))
    finest = max((group for group in chains if 2 * _parameters(group) >= trunk), key=len)
    return [call.path for call in finest]


def _calls(network: nn.Module, example_inputs: Mapping[str, Any]) -> list[Call]:
    """Every call of a module that has children (those without are layers, not blocks), in the order of their ends."""
    calls: list[Call] = []

    def record(path: str, module: nn.Module, args: object, kwargs: object, output: object) -> None:
        read = first_float_tensor(args)
        calls.append(
            Call(path, module, first_float_tensor(kwargs) if read is None else read, first_float_tensor(output))
        )

    with ExitStack() as stack, evaluating(network):
        for path, module in network.named_modules():
            if path and next(module.children(), None) is not None:
                hook = module.register_forward_hook(
                    lambda module, args, kwargs, output, path=path: record(path, module, args, kwargs, output),
                    with_kwargs=True,
                )
                stack.callback(hook.remove)
        network(**example_inputs)
    return calls


def _kind(module: nn.Module) -> tuple[type[nn.Module], ...]:
    """A module's class; two plain containers are of one kind when their children are."""
    if type(module) is nn.Sequential:
        return (nn.Sequential, *map(type, module))
    return (type(module),)


def _is_chain(group: list[Call]) -> bool:
    links = [second.read is not None and second.read is first.gave for first, second in pairwise(group)]
    return len(links) > 0 and 2 * sum(links) >= len(links)


def _parameters(group: list[Call]) -> int:
    return sum(parameter.numel() for call in group for parameter in call.module.parameters())
