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


def names() -> tuple[str, ...]:
    """Names of all factories, built-in ones first."""
    built_in = (*(f"resnet{depth}" for depth in (*CIFAR_DEPTHS, *IMAGENET_DEPTHS)), "vgg16")
    return (*built_in, *sorted({point.name for point in entry_points(group="etbac.models")} - set(built_in)))


def factory(name: str) -> Factory:
    """The registered factory of that name; a UsageError that lists the names otherwise."""
    if name == "vgg16":
        from etbac.models.vgg import vgg16

        return vgg16
    if name in {f"resnet{depth}" for depth in (*CIFAR_DEPTHS, *IMAGENET_DEPTHS)}:
        from etbac.models import resnet

        depth = int(name.removeprefix("resnet"))
        family = resnet.cifar_resnet if depth in CIFAR_DEPTHS else resnet.imagenet_resnet
        return partial(family, depth)
    for point in entry_points(group="etbac.models"):
        if point.name == name:
            found: Factory = point.load()
            return found
    raise UsageError(f"there is no model {name!r}; there are {', '.join(names())}, or name your own as module:function")


def user_factory(target: str) -> Factory:
    """Import `module:function` that the user typed: this runs the user's code."""
    module_name, _, attribute = target.partition(":")
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise UsageError(f"{target}: cannot import {module_name!r} ({error})") from error
    found: Any = getattr(module, attribute, None)
    if not callable(found):
        raise UsageError(f"{target}: module {module_name!r} has no function {attribute!r}")
    return found  # type: ignore[no-any-return]
