"""Compile early-exit models into a chain of engines, and run it with batch compaction.

The public names are imported on first use, so that `import etbac` costs milliseconds and needs nothing but Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from etbac._version import __version__

if TYPE_CHECKING:
    from etbac.planner.plan import plan
    from etbac.profiles.profiler import profile
    from etbac.runtime.chain import load

__all__ = ["__version__", "load", "plan", "profile"]

_HOMES = {
    "load": "etbac.runtime.chain",
    "plan": "etbac.planner.plan",
    "profile": "etbac.profiles.profiler",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'etbac' has no attribute {name!r}; it has {', '.join(__all__)}")
    from importlib import import_module

    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
