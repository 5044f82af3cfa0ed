"""Run as a program: check an ONNX file with native code; what is wrong goes to stdout, and the status is 1."""

from __future__ import annotations

import sys


def main(path: str) -> int:
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
        if not model.graph.node:
            print("its graph has no nodes")
            return 1
        onnx.checker.check_model(path)
        onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:
        print(" ".join(f"{type(error).__name__}: {error}".split()))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
