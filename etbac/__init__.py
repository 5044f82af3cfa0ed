"""Compile early-exit models into a chain of engines, and run it with batch compaction.

The public names are imported on first use, so that `import etbac` costs milliseconds and needs nothing but Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from etbac._version import __version__

if TYPE_CHECKING:
    from etbac.compiler import compile, optimize
    from etbac.models.attach import attach_exits
    from etbac.planner.plan import plan
    from etbac.planner.watch import Watch
    from etbac.profiles.profiler import profile
    from etbac.profiles.rebatch import rebatch
    from etbac.runtime.chain import load
    from etbac.training import train
    from etbac.verification import verify

__all__ = [
    "Watch",
    "__version__",
    "attach_exits",
    "compile",
    "load",
    "optimize",
    "plan",
    "profile",
    "rebatch",
    "train",
    "verify",
]

_HOMES = {
    "Watch": "etbac.planner.watch",
    "attach_exits": "etbac.models.attach",
    "compile": "etbac.compiler",
    "load": "etbac.runtime.chain",
    "optimize": "etbac.compiler",
    "plan": "etbac.planner.plan",
    "profile": "etbac.profiles.profiler",
    "rebatch": "etbac.profiles.rebatch",
    "train": "etbac.training",
    "verify": "etbac.verification",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'etbac' has no attribute {name!r}; it has {', '.join(__all__)}")
    from importlib import import_module

    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
