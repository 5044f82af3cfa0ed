"""What a backend is: it says whether it can work here, builds a segment, and runs what it built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeAlias

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Arrays: TypeAlias = Mapping[str, Array]
MAX_BATCH = "max_batch"
"""The field of `made_for` that says for how large batches an engine was built."""


class Tensor(Protocol):
    """An array, or a tensor that lies on a device until it is asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __array__(self, dtype: Any = None, /) -> Array: ...


@dataclass(frozen=True)
class Availability:
    """Whether a backend works on this machine; `detail` says what was found or what is wrong, `install` the remedy."""

    usable: bool
    version: str | None
    device: str
    """As in the names of engine folders: "cpu", "cuda", …"""
    detail: str
    install: str

    @property
    def sentence(self) -> str:
        """What is wrong, with the remedy."""
        return self.detail if self.install in self.detail else f"{self.detail}. Install it: {self.install}"


@dataclass(frozen=True)
class Int8Options:
    """What a backend's int8 arithmetic wants.

    `symmetric`: activations int8 around zero and biases in fp32 (TensorRT), otherwise uint8 with a zero point and
    biases in int32. `seven_bit_weights`: for x86 processors without VNNI, whose sums of two products saturate at
    16 bits: on a small ResNet's 8,000 test pictures, 8-bit weights cost 1.3 points at the first exit, 7-bit ones 0.05.
    """

    symmetric: bool = False
    seven_bit_weights: bool = False


@dataclass(frozen=True)
class BuildOptions:
    """How to build.

    `dtype`: "fp32", "fp16", "bf16" or "int8"; the source that is built already computes in it. `max_batch`: the largest
    batch; the pool of a later segment's boundary has as many rows. `dims`: (smallest, usual, largest) of each further
    dynamic dimension, by its name in the source. `timing_cache`: a file that a builder may read and write again.
    `offline`: a backend that runs sources as they are is to write down what it makes of them when it loads them.
    """

    dtype: str = "fp32"
    max_batch: int = 32
    dims: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    timing_cache: Path | None = None
    offline: bool = False


@dataclass(frozen=True)
class Engine:
    """One segment (or the full model) built by one backend for one device and dtype; `path` is what `load` opens."""

    backend: str
    device: str
    dtype: str
    path: Path


class Runner(Protocol):
    """A loaded engine; a context manager. `run` is thread-safe."""

    def run(self, inputs: Mapping[str, Tensor], outputs: tuple[str, ...]) -> Sequence[Tensor]:
        """Run once. `inputs` holds every input by name; the result has the named outputs, in that order.

        A result may stay on the device: np.asarray brings it here, and a runner of the same backend takes it as it is.
        """

    def close(self) -> None: ...

    def __enter__(self) -> Runner: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class RunsSources:
    """What backends have in common that run ONNX sources as they are, on any processor, and quantise in no special
    way."""

    runs_sources = True

    def int8_options(self) -> Int8Options:
        return Int8Options()

    def made_for(self, options: BuildOptions) -> Mapping[str, str]:
        return {}

    def unfit(self, made_for: Mapping[str, str]) -> str | None:
        return None


class Backend(Protocol):
    """Registered by name under the entry point group `etbac.backends`.

    `runs_sources`: whether a chain's portable sources run without a build: `build` returns the source itself, unless
    it is to work `offline`.
    """

    name: str
    runs_sources: bool

    def int8_options(self) -> Int8Options:
        """How int8 sources for this backend and this machine are to be quantised."""

    def available(self) -> Availability:
        """Look, don't raise: whatever is broken on the machine is said in the answer."""

    def device(self, dtype: str) -> str:
        """The device that engines of that dtype are built for here: "cpu", "cuda", or "any" for engines built without
        the device; a UsageError that names the dtype where the backend has no arithmetic for it."""

    def made_for(self, options: BuildOptions) -> Mapping[str, str]:
        """What an engine built here and now depends on besides its source, one field for each thing that can change:
        builder's version, processor or GPU, driver, shapes, options. An engine is rebuilt when any of them differs, and
        not used in a chain of larger batches than MAX_BATCH, where it gives that."""

    def unfit(self, made_for: Mapping[str, str]) -> str | None:
        """Why an engine made for that cannot run here, in a few words; None where it can."""

    def build(self, source: Path, options: BuildOptions, folder: Path) -> Engine:
        """Build the ONNX file `source` (a segment, or the full model); new files go into `folder`.

        A backend that runs the source as it is returns an engine whose path is `source`. Raises BackendRefusal, which
        names the operator, where the source holds something that the backend cannot build.
        """

    def load(self, engine: Engine) -> Runner:
        """Open an engine. Raises EtbacError where that is impossible here."""
