"""ONNX Runtime on the GPU, to compare with. Untested until it has run on one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from etbac.backends.interface import Tensor
from etbac.errors import EtbacError


class CudaSession:
    """A runner; inputs and outputs are on the host."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise EtbacError("ONNX Runtime has no CUDA here: pip install 'etbac[gpu]'")
        self._session = onnxruntime.InferenceSession(str(path), providers=["CUDAExecutionProvider"])

    def run(self, inputs: Mapping[str, Tensor], outputs: tuple[str, ...]) -> list[Tensor]:
        results: list[Tensor] = self._session.run(outputs, dict(inputs))
        return results

    def close(self) -> None:
        del self._session

    def __enter__(self) -> CudaSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
