"""Gates by name; a gate's module is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib import import_module
from importlib.metadata import entry_points
from types import NoneType
from typing import Any, get_args, get_type_hints

from etbac.errors import UsageError
from etbac.passes.gates.base import Gate

BUILT_IN = {
    "max-prob": "etbac.passes.gates.max_prob:MaxProb",
    "margin": "etbac.passes.gates.margin:Margin",
    "entropy": "etbac.passes.gates.entropy:Entropy",
    "keypoints": "etbac.passes.gates.keypoints:Keypoints",
    "pixels": "etbac.passes.gates.pixels:Pixels",
    "patience": "etbac.passes.gates.patience:Patience",
    "learned": "etbac.passes.gates.learned:Learned",
}


def names() -> tuple[str, ...]:
    """Names of all gates, built-in ones first."""
    others = {point.name for point in entry_points(group="etbac.gates")} - set(BUILT_IN)
    return (*BUILT_IN, *sorted(others))


def get(name: str) -> type[Gate]:
    """The gate of that name; a UsageError that lists the names otherwise."""
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        built_in: type[Gate] = getattr(import_module(module), attribute)
        return built_in
    for point in entry_points(group="etbac.gates"):
        if point.name == name:
            other: type[Gate] = point.load()
            return other
    raise UsageError(f"there is no gate {name!r}; there are {', '.join(names())}")


def create(name: str, options: Mapping[str, Any]) -> Gate:
    """The gate of that name with these options; a UsageError that lists the options where one is unknown."""
    kind = get(name)
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    unknown = [option for option in options if option not in known]
    if unknown:
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise UsageError(f"gate {name} has no option {unknown[0]!r}; {has}")
    kinds = get_type_hints(kind)
    return kind(**{option: _checked(name, option, value, kinds[option]) for option, value in options.items()})


def parse(text: str) -> Gate:
    """`name` or `name:option=value,option=value` as typed: `keypoints:m=9`, `max-prob:field=logits,temperature=1.5`."""
    name, _, rest = text.partition(":")
    options: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        option, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"--gate {text}: write options as name=value, like {name}:{part}=…")
        options[option.strip()] = _number(value.strip())
    return create(name.strip(), options)


def parse_all(texts: Sequence[str]) -> tuple[Gate | None, dict[int, Gate]]:
    """Every `--gate` as typed: the one for all exits (None if there is none), and those of one exit, `3=margin`."""
    everywhere: list[Gate] = []
    single: dict[int, Gate] = {}
    for text in texts:
        number, equals, rest = text.partition("=")
        if not equals or not number.strip().isdecimal():
            everywhere.append(parse(text))
            continue
        exit_id = int(number)
        if exit_id in single:
            raise UsageError(f"--gate {text}: exit {exit_id} has a gate already; name one for each exit")
        single[exit_id] = parse(rest)
    if len(everywhere) > 1:
        raise UsageError(f"--gate names {len(everywhere)} gates for all exits; for a single exit write --gate ID=NAME")
    return next(iter(everywhere), None), single


def _checked(name: str, option: str, value: Any, kind: Any) -> Any:
    allowed = get_args(kind) or (kind,)
    if float in allowed and isinstance(value, int):
        return float(value)
    if isinstance(value, allowed):
        return value
    wanted = " or ".join(one.__name__ for one in allowed if one is not NoneType)
    raise UsageError(f"gate {name}: option {option} is {value!r}; it must be of type {wanted}")


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
