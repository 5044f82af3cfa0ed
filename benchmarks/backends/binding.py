"""Whether binding a session to buffers that are used again pays on the CPU: the demo's first engine, both ways."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.backends.subjects import demo
from etbac.backends.onnxruntime_backend import _create_session
from etbac.profiles.timer import measure
from etbac.runtime.inputs import tile

SIZES = (1, 16)
SECONDS = 8.0


def binding() -> dict[str, Any]:
    """Median ms of a run that takes and gives arrays, and of one bound to the same buffers every time."""
    directory = demo()
    entry = directory.manifest.segments[0]
    session = _create_session(directory.path / entry.file, "cpu")
    names = [output.name for output in session.get_outputs()]
    calls: dict[tuple[str, int], Any] = {}
    for size in SIZES:
        samples = tile(directory.manifest.inputs, directory.read_samples(), size)
        feed = {spec.name: samples[spec.name] for spec in entry.contract.inputs}
        feed["threshold"] = np.array(np.inf, np.float32)
        calls["arrays", size] = partial(session.run, names, feed)
        calls["bound", size] = _bound(session, feed, names)
    taken = measure(calls, SECONDS, 0.005)
    return {"passed": True, **{f"{way} {size}": float(np.median(ms)) for (way, size), ms in taken.items()}}


def _bound(session: Any, feed: dict[str, Any], names: list[str]) -> Any:
    io = session.io_binding()
    buffers: list[Any] = session.run(names, feed)
    for name, buffer in zip(names, buffers, strict=True):
        io.bind_output(name, "cpu", 0, buffer.dtype.type, buffer.shape, buffer.ctypes.data)

    def run() -> list[Any]:
        for name, array in feed.items():
            io.bind_cpu_input(name, array)
        session.run_with_iobinding(io)
        return buffers

    return run
