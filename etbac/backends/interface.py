"""What a backend is: it says whether it can work here, builds a segment, and runs what it built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeAlias

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Arrays: TypeAlias = Mapping[str, Array]


@dataclass(frozen=True)
class Availability:
    """Whether a backend works on this machine; `detail` says what was found or what is wrong, `install` the remedy."""

    usable: bool
    version: str | None
    device: str
    """As in the names of engine folders: "cpu", "cuda", …"""
    detail: str
    install: str


@dataclass(frozen=True)
class BuildOptions:
    """How to build. `dtype`: "fp32", "fp16", "bf16" or "int8". `threads`: 0 lets the backend choose."""

    dtype: str = "fp32"
    max_batch: int = 32
    threads: int = 0


@dataclass(frozen=True)
class Engine:
    """One segment (or the full model) built by one backend for one device and dtype.

    `path` is what `load` opens; `outputs` the names in the order in which a runner must produce them.
    """

    backend: str
    device: str
    dtype: str
    path: Path


class Runner(Protocol):
    """A loaded engine; a context manager. `run` is thread-safe."""

    def run(self, inputs: Arrays, outputs: tuple[str, ...]) -> list[Array]:
        """Run once. `inputs` holds every input by name; the result has the named outputs, in that order."""

    def close(self) -> None: ...

    def __enter__(self) -> Runner: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Backend(Protocol):
    """Registered by name under the entry point group `etbac.backends`."""

    name: str

    def available(self) -> Availability:
        """Look, don't raise: whatever is broken on the machine is said in the answer."""

    def build(self, source: Path, options: BuildOptions, folder: Path) -> Engine:
        """Build the portable fp32 ONNX file `source`; new files go into `folder`.

        A backend that runs the portable source as it is returns an engine whose path is `source`.
        """

    def load(self, engine: Engine) -> Runner: ...
