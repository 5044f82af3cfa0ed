"""Reading what modules of a network give during one forward pass, without changing the network."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from etbac.errors import UnsupportedModelError, UsageError


def first_float_tensor(value: object) -> Tensor | None:
    """The first floating-point tensor of rank ≥ 1 in a tensor, tuple, list or mapping (as ModelOutput)."""
    if isinstance(value, Tensor):
        return value if value.is_floating_point() and value.ndim > 0 else None
    children = value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else ()
    return next((found for found in map(first_float_tensor, children) if found is not None), None)


def prediction_of(output: object) -> Tensor:
    """The network's answer: `logits` where the output has them, else its first floating-point tensor."""
    if isinstance(output, Mapping) and isinstance(output.get("logits"), Tensor):
        output = output["logits"]
    prediction = first_float_tensor(output)
    if prediction is None:
        raise UnsupportedModelError(f"the model's output ({type(output).__name__}) holds no floating-point tensor")
    return prediction


def on_cpu(network: nn.Module) -> nn.Module:
    """Itself, or a copy of one that is on another device."""
    places = {tensor.device.type for tensor in (*network.parameters(), *network.buffers())}
    return network if places <= {"cpu"} else copy.deepcopy(network).cpu()


@contextmanager
def captured(network: nn.Module, paths: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Within the block, a forward pass of `network` fills the dictionary: module path -> the module's features.

    The hooks are gone afterwards. They are registered anew for each pass, so that the network stays as its owner made
    it and torch.export, which runs this code while it traces, sees them too.
    """
    found: dict[str, Tensor] = {}

    def keep(path: str, output: object) -> None:
        features = first_float_tensor(output)
        if features is None:
            raise UnsupportedModelError(f"module {path!r} gives no floating-point tensor; name another module")
        if path in found:
            raise UnsupportedModelError(
                f"module {path!r} is called more than once in a pass, so an exit after it is ambiguous; name another"
            )
        found[path] = features

    with ExitStack() as stack:
        for path in paths:
            hook = submodule(network, path).register_forward_hook(lambda _m, _i, output, path=path: keep(path, output))
            stack.callback(hook.remove)
        yield found


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients within the block; every module's own mode comes back afterwards."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def submodule(network: nn.Module, path: str) -> nn.Module:
    """The module at `path`; a UsageError that names the nearest paths otherwise."""
    modules: dict[str, nn.Module] = dict(network.named_modules())
    if path in modules and path:
        return modules[path]
    near = difflib.get_close_matches(path, modules, n=3, cutoff=0.3) or [name for name in modules if name][:5]
    raise UsageError(f"the model has no module {path!r}; near it are {', '.join(near)}")


def features_at(
    network: nn.Module, paths: Sequence[str], inputs: Mapping[str, Any]
) -> tuple[dict[str, Tensor], Tensor]:
    """One pass: features [B, …] by module path, and the network's answer; an error names a module that never ran."""
    with captured(network, paths) as found:
        prediction = prediction_of(network(**inputs))
    missing = [path for path in paths if path not in found]
    if missing:
        raise UnsupportedModelError(
            f"module {missing[0]!r} did not run in a forward pass: the model skips it, or calls its forward() "
            "directly, past the hooks. Name another module, such as the one around it or inside it"
        )
    return found, prediction
