"""Polygraphy for one flavour, and a log that keeps what the builder says off the terminal."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from etbac.backends.tensorrt.flavour import RTX, Flavour, load, require_polygraphy
from etbac.errors import EtbacError

_BACKEND = "polygraphy.backend.trt"
_logging = threading.Lock()


class Log:
    """What one flavour's library logs as an error while the log is open; nothing goes to the terminal.

    `logger` is what the library takes; it takes one in a process, so that one thread at a time opens the log.
    """

    def __init__(self, trt: ModuleType) -> None:
        self.errors: list[str] = []
        self.logger = _logger(trt, self.errors)

    @contextmanager
    def open(self) -> Iterator[None]:
        with _logging:
            self.errors.clear()
            yield

    def reason(self, otherwise: str = "it gave no reason") -> str:
        return self.errors[0] if self.errors else " ".join(otherwise.split())


@dataclass(frozen=True)
class Tools:
    """`trt`: the flavour's module; `poly`: Polygraphy's loaders for it."""

    flavour: Flavour
    trt: ModuleType
    poly: ModuleType
    log: Log

    @contextmanager
    def quiet(self) -> Iterator[None]:
        from polygraphy.logger import G_LOGGER

        with self.log.open(), G_LOGGER.verbosity(G_LOGGER.CRITICAL + 1):
            yield


@functools.cache
def log_of(flavour: Flavour) -> Log:
    return Log(load(flavour))


@functools.cache
def tools(flavour: Flavour) -> Tools:
    """Load all that building takes; an EtbacError where this process holds Polygraphy for the other flavour."""
    trt = load(flavour)
    require_polygraphy(flavour)
    from polygraphy import config

    if _BACKEND not in sys.modules:
        config.USE_TENSORRT_RTX = flavour is RTX
    elif (flavour is RTX) != config.USE_TENSORRT_RTX:
        raise EtbacError(
            f"backend {flavour.name}: Polygraphy serves one flavour of TensorRT in a process, and this one has "
            "the other already; build this one in another process"
        )
    sys.modules.setdefault(flavour.alias, trt)
    import polygraphy.backend.trt as poly
    from polygraphy.backend.trt import util

    log = log_of(flavour)
    trt.init_libnvinfer_plugins(log.logger, "")
    util.TRT_LOGGER = log.logger
    return Tools(flavour, trt, poly, log)


def _logger(trt: ModuleType, errors: list[str]) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                errors.append(" ".join(message.split()))

    return Logger()
