"""Run as a program: load and cut each ONNX file named on the command line; JSON lines say how each ended.

With `--here`, native code checks the files in this process, which stands in for the child that the frontend starts.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import sys
import time
from pathlib import Path

from etbac.errors import EtbacError
from etbac.frontend import check_onnx, onnx_file
from etbac.frontend.load import load_model
from etbac.passes.model_passes import PassOptions, model_passes
from etbac.passes.split import split_at_exits

MEMORY = 2 << 30
"""Bytes of address space with `--here`: protects the machine that runs the tests, as the frontend's child does."""


def check_here(path: Path) -> None:
    """What the frontend's child does, in this process."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        status = check_onnx.main(str(path))
    if status:
        raise EtbacError(said.getvalue().strip())


def outcome(path: Path) -> dict[str, object]:
    """ "compiled", "refused" (an EtbacError) or the name of another exception, with its message."""
    started = time.perf_counter()
    message = ""
    try:
        split_at_exits(model_passes(load_model(path), PassOptions()))
        ended = "compiled"
    except EtbacError as error:
        ended, message = "refused", str(error)
    except Exception as error:
        ended, message = type(error).__name__, str(error)
    return {"ends": str(path), "how": ended, "message": message, "seconds": time.perf_counter() - started}


def main(arguments: list[str]) -> None:
    if "--here" in arguments:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        onnx_file._check_in_child = check_here
    for path in arguments:
        if path == "--here":
            continue
        print(json.dumps({"starts": path}), flush=True)
        print(json.dumps(outcome(Path(path))), flush=True)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"peak_megabytes": peak // 1024}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
