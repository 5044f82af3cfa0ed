"""ONNX Runtime on the CPU: runs the portable source as it is, all sessions of the process on one thread pool."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING

from etbac.backends.interface import Array, Arrays, Availability, BuildOptions, Engine
from etbac.errors import EtbacError, MissingPackageError, UsageError

if TYPE_CHECKING:
    import onnxruntime

INSTALL = "pip install 'etbac[cpu]'"
THREADS_VARIABLE = "ETBAC_THREADS"
_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")


@dataclass(frozen=True)
class ThreadPool:
    """How this process's sessions get their threads.

    `shared`: one pool for all sessions. Otherwise the program had its own sessions before, the pool could not be
    shared with them, and each session has its own threads, which don't spin.
    """

    threads: int
    shared: bool


class OnnxRuntimeBackend:
    """Backend `onnxruntime`, for device `cpu` and dtype `fp32`."""

    name = "onnxruntime"

    def available(self) -> Availability:
        found = _installed_version()
        if found is None:
            return Availability(False, None, "cpu", "not installed", INSTALL)
        try:
            pool = thread_pool()
        except EtbacError as error:
            return Availability(False, found, "cpu", str(error), INSTALL)
        threads = f"{pool.threads} thread{'s' if pool.threads > 1 else ''}"
        sharing = (
            "one pool" if pool.shared else "a pool for each session, not spinning: this program has its own sessions"
        )
        return Availability(True, found, "cpu", f"{threads}, {sharing}", INSTALL)

    def device(self, dtype: str) -> str:
        if dtype != "fp32":
            raise UsageError(f"--dtype {dtype}: backend {self.name} runs fp32 only")
        return "cpu"

    def made_for(self, options: BuildOptions) -> Mapping[str, str]:
        return {"version": str(_installed_version())}

    def unfit(self, made_for: Mapping[str, str]) -> str | None:
        return None

    def build(self, source: Path, options: BuildOptions, folder: Path) -> Engine:
        return Engine(self.name, self.device(options.dtype), options.dtype, source)

    def load(self, engine: Engine) -> OnnxRuntimeRunner:
        return OnnxRuntimeRunner(engine.path)


class OnnxRuntimeRunner:
    """A session. Runs are thread-safe; they differ from one another only in their inputs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session: onnxruntime.InferenceSession | None = _create_session(path)

    def run(self, inputs: Arrays, outputs: tuple[str, ...]) -> list[Array]:
        if self._session is None:
            raise EtbacError(f"{self._path.name} was closed; open the chain again")
        try:
            results: list[Array] = self._session.run(outputs, inputs)
        except Exception as error:
            raise EtbacError(f"ONNX Runtime failed on {self._path.name}: {_one_line(error)}") from error
        return results

    def close(self) -> None:
        self._session = None

    def __enter__(self) -> OnnxRuntimeRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@functools.cache
def thread_pool() -> ThreadPool:
    """Set up this process's thread pool on the first call; the same answer ever after.

    Private pools whose threads spin make the sessions of a chain slow each other down (microsoft/onnxruntime#17011),
    so all sessions share one. ONNX Runtime then refuses sessions that ask for a pool of their own: where the program
    has imported onnxruntime by itself, and may make such sessions, its pool is left alone.
    """
    programs_own = "onnxruntime" in sys.modules
    threads = _thread_count()
    ort = _onnxruntime()
    if programs_own:
        return ThreadPool(threads, shared=False)
    ort.set_global_thread_pool_sizes(threads, 1)
    return ThreadPool(threads, shared=True)


def _create_session(path: Path) -> onnxruntime.InferenceSession:
    pool = thread_pool()
    ort = _onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if pool.shared:
        options.use_per_session_threads = False
    else:
        options.intra_op_num_threads = pool.threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise EtbacError(f"ONNX Runtime cannot load {path}: {_one_line(error)}") from error


def _onnxruntime() -> ModuleType:
    try:
        import onnxruntime
    except ImportError as error:
        found = _installed_version()
        reason = "is not installed" if found is None else f"{found} cannot be imported ({_one_line(error)})"
        raise MissingPackageError(
            f"backend onnxruntime: the package onnxruntime {reason}. Install it: {INSTALL}"
        ) from None
    module: ModuleType = onnxruntime
    return module


def _installed_version() -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    for name in _DISTRIBUTIONS:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def _thread_count() -> int:
    """$ETBAC_THREADS, or the physical cores that this process may use."""
    text = os.environ.get(THREADS_VARIABLE)
    if text is None:
        return _physical_cores()
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{THREADS_VARIABLE}={text}: write a number of threads, 1 or more")
    return int(text)


def _physical_cores() -> int:
    """Cores among the processors allowed to this process, not counting one core's several hardware threads."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    allowed = os.sched_getaffinity(0)
    siblings = {_read(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") or str(cpu) for cpu in allowed}
    return len(siblings)


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
