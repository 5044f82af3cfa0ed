"""ONNX Runtime: runs ONNX sources as they are, all sessions of the process on one thread pool."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from platform import machine
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from etbac.backends.interface import Array, Availability, BuildOptions, Engine, Int8Options, Tensor
from etbac.errors import EtbacError, MissingPackageError, UsageError, one_line

if TYPE_CHECKING:
    import onnxruntime

INSTALL = "pip install 'etbac[cpu]'"
THREADS_VARIABLE = "ETBAC_THREADS"
DEVICE_VARIABLE = "ETBAC_DEVICE"
DTYPES = ("fp32", "fp16", "int8")
_DTYPES = ", ".join(DTYPES)
OFFLINE = ".ort"
PROCESSOR = "processor"
WEIGHT_BITS = "bits of int8 weights"
PROVIDERS: dict[str, list[Any]] = {
    "cpu": ["CPUExecutionProvider"],
    # An exhaustive search for each new shape takes hundreds of milliseconds, and every batch size is a new shape.
    # Without TF32 fp32 means fp32.
    "cuda": [
        ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}),
        "CPUExecutionProvider",
    ],
}
FATAL = 4
X86 = ("x86_64", "AMD64")
_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")


@dataclass(frozen=True)
class ThreadPool:
    """How this process's sessions get their threads and memory.

    `shared`: one pool of threads, and one of memory, for all sessions. Otherwise the program had its own sessions
    before, the pool could not be shared with them, and each session has its own threads, which don't spin.
    """

    threads: int
    shared: bool


class OnnxRuntimeBackend:
    """Backend `onnxruntime`, for the device `cuda` where there is one and for `cpu`; in fp32, fp16 and int8.

    `runs_on`: the device that engines run on, otherwise `device_here()`.
    """

    name = "onnxruntime"
    runs_sources = True

    def __init__(self, runs_on: str | None = None) -> None:
        self._runs_on = runs_on

    def available(self) -> Availability:
        found = _installed_version()
        if found is None:
            return Availability(False, None, "cpu", "not installed", INSTALL)
        try:
            pool = thread_pool()
            device = device_here()
        except EtbacError as error:
            return Availability(False, found, "cpu", str(error), INSTALL)
        except Exception as error:  # whatever a broken library raises
            return Availability(False, found, "cpu", one_line(error), INSTALL)
        threads = f"{pool.threads} thread{'s' if pool.threads > 1 else ''}"
        sharing = (
            "one pool" if pool.shared else "a pool for each session, not spinning: this program has its own sessions"
        )
        return Availability(True, found, device, f"{threads}, {sharing}", INSTALL)

    def device(self, dtype: str) -> str:
        if dtype not in DTYPES:
            raise UsageError(f"--dtype {dtype}: backend {self.name} has no arithmetic for it; it has {_DTYPES}")
        return device_here()

    def int8_options(self) -> Int8Options:
        return Int8Options(seven_bit_weights=_saturates())

    def made_for(self, options: BuildOptions) -> Mapping[str, str]:
        """Sources run with any version and on any processor, but for one thing in int8; what was optimised offline
        belongs to both."""
        bits = {WEIGHT_BITS: "7" if _saturates() else "8"} if options.dtype == "int8" else {}
        return {**bits, **(_offline_for() if options.offline else {})}

    def unfit(self, made_for: Mapping[str, str]) -> str | None:
        offline = _offline_for() if PROCESSOR in made_for else {}
        for name, here in offline.items():
            if made_for.get(name, here) != here:
                return f"made for {name} {made_for[name]}, here is {here}"
        if made_for.get(WEIGHT_BITS) == "8" and _saturates():
            return "its int8 weights have 8 bits, whose sums saturate on this processor, which has no VNNI"
        return None

    def build(self, source: Path, options: BuildOptions, folder: Path) -> Engine:
        device = self.device(options.dtype)
        if not options.offline:
            return Engine(self.name, device, options.dtype, source)
        path = folder / f"{source.stem}{OFFLINE}"
        _create_session(source, device, offline=path)
        return Engine(self.name, device, options.dtype, path)

    def load(self, engine: Engine) -> OnnxRuntimeRunner | BoundRunner:
        device = self._runs_on or device_here()
        session = _create_session(engine.path, device)
        return OnnxRuntimeRunner(engine.path, session) if device == "cpu" else BoundRunner(engine.path, session, device)


class OnnxRuntimeRunner:
    """A session on the CPU. Runs are thread-safe; they differ from one another only in their inputs.

    Arrays go in and out as they are: binding them to buffers that are used again is not faster here
    (`make bench-backends` prints both).
    """

    def __init__(self, path: Path, session: onnxruntime.InferenceSession) -> None:
        self._path = path
        self._session: onnxruntime.InferenceSession | None = session

    def run(self, inputs: Mapping[str, Tensor], outputs: tuple[str, ...]) -> Sequence[Tensor]:
        if self._session is None:
            raise EtbacError(f"{self._path.name} was closed; open the chain again")
        try:
            return self._run(self._session, inputs, outputs)
        except Exception as error:
            raise EtbacError(f"ONNX Runtime failed on {self._path.name}: {one_line(error)}") from error

    def _run(
        self, session: onnxruntime.InferenceSession, inputs: Mapping[str, Tensor], outputs: tuple[str, ...]
    ) -> Sequence[Tensor]:
        arrays = {name: value if type(value) is np.ndarray else np.asarray(value) for name, value in inputs.items()}
        results: Sequence[Tensor] = session.run(outputs, arrays)
        return results

    def close(self) -> None:
        self._session = None

    def __enter__(self) -> OnnxRuntimeRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class BoundRunner(OnnxRuntimeRunner):
    """A session whose outputs stay on its device, in memory that its arena uses again, until somebody reads them."""

    def __init__(self, path: Path, session: onnxruntime.InferenceSession, device: str) -> None:
        super().__init__(path, session)
        self._device = device

    def _run(
        self, session: onnxruntime.InferenceSession, inputs: Mapping[str, Tensor], outputs: tuple[str, ...]
    ) -> Sequence[Tensor]:
        binding = session.io_binding()
        for name, value in inputs.items():
            if isinstance(value, BoundTensor):
                binding.bind_ortvalue_input(name, value.value)
            else:
                binding.bind_cpu_input(name, np.asarray(value, order="C"))  # a scalar stays one
        for name in outputs:
            binding.bind_output(name, self._device)
        session.run_with_iobinding(binding)
        return [BoundTensor(value) for value in binding.get_outputs()]


@dataclass(frozen=True)
class BoundTensor:
    """A tensor on ONNX Runtime's device."""

    value: onnxruntime.OrtValue

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value.shape())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array: Array = self.value.numpy()
        return array if dtype is None else array.astype(dtype, copy=False)


@functools.cache
def device_here() -> str:
    """$ETBAC_DEVICE, or "cuda" where ONNX Runtime can put a tensor there, else "cpu"."""
    return _device(os.environ.get(DEVICE_VARIABLE))


@functools.cache
def _device(asked: str | None) -> str:
    if asked not in (None, "cpu", "cuda"):
        raise UsageError(f"{DEVICE_VARIABLE}={asked}: write cpu or cuda")
    if asked == "cpu":
        return "cpu"
    pool, ort = thread_pool(), _onnxruntime()
    _load_cuda(ort, quiet=pool.shared)
    try:
        ort.OrtValue.ortvalue_from_numpy(np.zeros(1, np.float32), "cuda", 0)
    except Exception as error:
        if asked is None:
            return "cpu"
        raise EtbacError(f"{DEVICE_VARIABLE}=cuda: ONNX Runtime finds no GPU ({one_line(error)})") from None
    return "cuda"


_setting_up = threading.Lock()
_pool: ThreadPool | None = None


def thread_pool() -> ThreadPool:
    """Set up this process's thread pool on the first call; the same answer ever after.

    Private pools whose threads spin make the sessions of a chain slow each other down (microsoft/onnxruntime#17011),
    so all sessions share one, and one arena: engines run one after the other, and with an arena each they hold their
    activations side by side (`make bench-backends` prints the memory). ONNX Runtime then refuses sessions that ask for
    a pool of their own: where the program has imported onnxruntime by itself, and may make such sessions, its pool is
    left alone.
    """
    global _pool
    with _setting_up:  # a second thread would take the first one's import for the program's
        _pool = _pool or _set_up_pool()
        return _pool


def _set_up_pool() -> ThreadPool:
    programs_own = "onnxruntime" in sys.modules
    threads = thread_count()
    ort = _onnxruntime()
    if programs_own:
        return ThreadPool(threads, shared=False)
    ort.set_global_thread_pool_sizes(threads, 1)
    cpu = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(cpu, None)
    return ThreadPool(threads, shared=True)


def _create_session(path: Path, device: str, offline: Path | None = None) -> onnxruntime.InferenceSession:
    """A session of the file at `path`; what ONNX Runtime makes of it is written to `offline`, in its own format."""
    pool = thread_pool()
    ort = _onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if offline is not None:
        options.optimized_model_filepath = str(offline)
        options.add_session_config_entry("session.save_model_format", "ORT")
    if path.suffix == OFFLINE:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if pool.shared:
        options.use_per_session_threads = False
        options.add_session_config_entry("session.use_env_allocators", "1")
    else:
        options.intra_op_num_threads = pool.threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(str(path), options, providers=PROVIDERS[device])
    except Exception as error:
        raise EtbacError(f"ONNX Runtime cannot load {path}: {one_line(error)}") from error
    if device == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        raise EtbacError(
            f"ONNX Runtime finds the GPU, and not all of CUDA and cuDNN: pip install 'etbac[gpu]'; "
            f"{DEVICE_VARIABLE}=cpu computes without them"
        )
    return session


def _load_cuda(ort: ModuleType, quiet: bool) -> None:
    """Load NVIDIA's libraries where they are packages of this Python: ONNX Runtime looks only where the system does.

    `quiet`: nothing is logged, for cuDNN's attempts that it gives up are thousands of lines; errors are raised anyway.
    """
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return
    if quiet:
        ort.set_default_logger_severity(FATAL)
    if hasattr(ort, "preload_dlls"):
        with redirect_stdout(io.StringIO()):  # it prints what it did not find, and that may be nothing that is missed
            ort.preload_dlls()


def _onnxruntime() -> ModuleType:
    try:
        import onnxruntime
    except ImportError as error:
        found = _installed_version()
        reason = "is not installed" if found is None else f"{found} cannot be imported ({one_line(error)})"
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


def thread_count() -> int:
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


def _offline_for() -> Mapping[str, str]:
    """What a graph that was optimised offline belongs to: its layouts and fusions are those of one processor."""
    lines = dict(line.split(":", 1) for line in (_read("/proc/cpuinfo") or "").splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in lines.items()}
    able = hashlib.sha256(" ".join(sorted(fields.get("flags", "").split())).encode()).hexdigest()[:8]
    processor = f"{fields.get('model name', machine())} (flags {able})"
    return {"onnxruntime": str(_installed_version()), PROCESSOR: processor, "provider": device_here()}


def _saturates() -> bool:
    """Whether sums of two products of 8-bit numbers saturate: x86 without VNNI, or with what cannot be told."""
    return machine() in X86 and "vnni" not in (_read("/proc/cpuinfo") or "")


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
