"""Looking at what is installed, each thing in a process of its own, so that whatever it does is an answer."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etbac.backends.interface import Backend

SECONDS = 300
DTYPES = ("fp32", "fp16", "bf16", "int8")
TRIAL = (
    b'\x08\x08:I\n\x0c\n\x01x\x12\x01y"\x04Relu\x12\x05trialZ\x18\n\x01x\x12\x13\n\x11\x08\x01\x12\r\n\x07\x12\x05batch'
    b"\n\x02\x08\x04b\x18\n\x01y\x12\x13\n\x11\x08\x01\x12\r\n\x07\x12\x05batch\n\x02\x08\x04B\x04\n\x00\x10\x12"
)
"""An ONNX file, y = Relu(x) on float32 [batch, 4] in opset 18, as bytes: onnx may be what is missing."""
_CHILD = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
try:
    {}
except BaseException as error:
    sys.exit(type(error).__name__ + ": " + " ".join(str(error).split()))
"""


def examine_package(module: str) -> str | None:
    """What is wrong with a module that is imported; None where nothing is."""
    return _in_child(f"import {module}")[1]


def examine_driver() -> str | None:
    """What is wrong with the NVIDIA driver; None where nothing is, or where there is no driver."""
    reason = _in_child("from etbac.backends.tensorrt.cuda import cuda; cuda()")[1]
    return None if reason is None or "No such file" in reason else reason.removeprefix("EtbacError: ")


def examine_backend(name: str) -> tuple[dict[str, Any], str | None]:
    """`look` at the backend of that name: its answer, or what stopped it."""
    printed, reason = _in_child(
        "from etbac.cli.examine import look; from etbac.backends import registry; "
        f"print(json.dumps(look(registry.get({name!r}))))"
    )
    if reason is not None:
        return {}, reason
    try:
        answer: dict[str, Any] = json.loads(printed.splitlines()[-1])
    except (ValueError, IndexError):
        return {}, "it gave no answer"
    return answer, None


def look(backend: Backend) -> dict[str, Any]:
    """What the backend says of itself, the number formats that it has, and what it did with a small graph."""
    found = backend.available()
    dtypes = [dtype for dtype in DTYPES if _has(backend, dtype)]
    builds, runs, reason = _try_out(backend) if found.usable else (False, False, None)
    return {
        "usable": bool(found.usable),
        "version": found.version and str(found.version),
        "device": str(found.device),
        "dtypes": dtypes,
        "builds": builds,
        "runs": runs,
        "found": str(reason or found.detail),
        "install": str(found.install),
    }


def _has(backend: Backend, dtype: str) -> bool:
    from etbac.errors import EtbacError

    try:
        backend.device(dtype)
    except EtbacError:
        return False
    return True


def _try_out(backend: Backend) -> tuple[bool, bool, str | None]:
    """(builds, runs, what failed)."""
    import numpy as np

    from etbac.backends.interface import BuildOptions

    builds = False
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "trial.onnx")
        source.write_bytes(TRIAL)
        try:
            engine = backend.build(source, BuildOptions(max_batch=2), Path(folder))
            builds = True
            with backend.load(engine) as runner:
                (answer,) = runner.run({"x": np.full((2, 4), -1, np.float32)}, ("y",))
                right = not np.asarray(answer).any()
        except Exception as error:
            return builds, False, one_line(error)
    return builds, right, None if right else "it computed something wrong"


def _in_child(code: str) -> tuple[str, str | None]:
    """Run `code` in a new Python that finds what this one finds: what it printed, and the reason where it failed."""
    command = [sys.executable, "-c", _CHILD.format(code), json.dumps(sys.path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return "", f"no answer within {SECONDS} seconds"
    except OSError as error:
        return "", one_line(error)
    if done.returncode < 0:
        return "", f"it ended Python with {signal.strsignal(-done.returncode) or -done.returncode}"
    said = [line for line in done.stderr.splitlines() if line.strip()]
    return done.stdout, None if done.returncode == 0 else said[-1].strip() if said else f"exit code {done.returncode}"


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
