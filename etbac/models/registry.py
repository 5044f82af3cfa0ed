"""Model factories by name; nothing is imported until it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeAlias

from etbac.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

Factory: TypeAlias = "Callable[..., nn.Module]"

CIFAR_DEPTHS = (8, 14, 20, 32, 44, 56, 110)
IMAGENET_DEPTHS = (18, 34, 50, 101, 152)
DEEPLAB_DEPTHS = (18, 34, 50, 101)
LITE_SIZES = (0, 1, 2, 3, 4)
BUILT_IN = {
    **{f"resnet{depth}": ("etbac.models.resnet:cifar_resnet", depth) for depth in CIFAR_DEPTHS},
    **{f"resnet{depth}": ("etbac.models.resnet:imagenet_resnet", depth) for depth in IMAGENET_DEPTHS},
    **{f"efficientnet-lite{size}": ("etbac.models.efficientnet_lite:efficientnet_lite", size) for size in LITE_SIZES},
    "vgg16": ("etbac.models.vgg:vgg16", None),
    **{f"pose-resnet{depth}": ("etbac.models.pose_resnet:pose_resnet", depth) for depth in IMAGENET_DEPTHS},
    **{f"deeplab-resnet{depth}": ("etbac.models.deeplab:deeplab", depth) for depth in DEEPLAB_DEPTHS},
    "transformers": ("etbac.models.hub:transformers", None),
}
"""Name -> `module:function`, and the depth or size that is its first argument."""


def names() -> tuple[str, ...]:
    """Names of all factories, built-in ones first."""
    return (*BUILT_IN, *sorted({point.name for point in entry_points(group="etbac.models")} - set(BUILT_IN)))


def factory(name: str) -> Factory:
    """The registered factory of that name; a UsageError that lists the names otherwise."""
    if name in BUILT_IN:
        target, depth = BUILT_IN[name]
        module, _, attribute = target.partition(":")
        make: Factory = getattr(import_module(module), attribute)
        return make if depth is None else partial(make, depth)
    for point in entry_points(group="etbac.models"):
        if point.name == name:
            found: Factory = point.load()
            return found
    raise UsageError(f"there is no model {name!r}; there are {', '.join(names())}, or name your own as module:function")


def user_factory(target: str) -> Factory:
    """Import `module:function`, or `module:Class.method`, that the user typed: this runs the user's code."""
    module_name, _, attribute = target.partition(":")
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise UsageError(f"{target}: cannot import {module_name!r} ({error})") from error
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise UsageError(f"{target}: module {module_name!r} has no function {attribute!r}")
    return found  # type: ignore[no-any-return]
