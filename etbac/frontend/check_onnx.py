"""Run as a program: check an ONNX file with native code; what is wrong goes to stdout, and the status is 1."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

MEMORY = 1 << 30
"""Bytes of address space besides four times the file: a small file can ask for any amount."""


def main(path: str) -> int:
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
        if not model.graph.node:
            print("its graph has no nodes")
            return 1
        onnx.checker.check_model(path)
        onnx.shape_inference.infer_shapes(model, check_type=True, data_prop=True)
    except Exception as error:
        print(" ".join(f"{type(error).__name__}: {error}".split()))
        return 1
    return 0


def limit_memory(path: str) -> None:
    """Let this process fail instead of the machine, where the system has such limits."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        limit = MEMORY + 4 * Path(path).stat().st_size
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    limit_memory(sys.argv[1])
    sys.exit(main(sys.argv[1]))
