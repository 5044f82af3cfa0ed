"""The packages that etbac can do without, what each is for, and the line that installs it."""

from __future__ import annotations

from typing import NamedTuple

ETBAC = "pip install etbac"


class Package(NamedTuple):
    """`module` is imported to see whether it works, "" where its backend's row says that."""

    extra: str
    module: str
    use: str

    @property
    def install(self) -> str:
        return f"pip install 'etbac[{self.extra}]'" if self.extra else ETBAC


PACKAGES = {
    "onnx": Package("", "onnx", "compile"),
    "onnx-ir": Package("", "onnx_ir", "compile"),
    "onnxscript": Package("", "onnxscript", "compile"),
    "onnxruntime": Package("cpu", "onnxruntime", "run on the CPU"),
    "onnxruntime-gpu": Package("gpu", "", "run on NVIDIA GPUs, instead of onnxruntime"),
    "openvino": Package("openvino", "openvino", "run on Intel's processors"),
    "polygraphy": Package("tensorrt-rtx", "polygraphy", "build with TensorRT, of both kinds"),
    "tensorrt-rtx-cu13-bindings": Package("tensorrt-rtx", "", "build with TensorRT for RTX"),
    "onnxruntime-ep-nv-tensorrt-rtx-cu13": Package("tensorrt-rtx", "", "TensorRT for RTX's libraries"),
    "tensorrt": Package("gpu", "", "build with TensorRT"),
    "torch": Package("train", "torch", "train, and read checkpoints and exported programs"),
    "safetensors": Package("train", "safetensors", "read weights"),
    "transformers": Package("train", "transformers", "text and speech models"),
    "accelerate": Package("train", "accelerate", "train"),
    "kornia": Package("train", "kornia", "train on pictures"),
    "pillow": Package("train", "PIL", "run on folders of pictures"),
    "tokenizers": Package("train", "tokenizers", "run on files of texts"),
    "soundfile": Package("train", "soundfile", "run on folders of sounds, other than PCM in wav files"),
    "scipy": Package("train", "scipy", "sounds at another rate than the model's, and MPII's annotations"),
    "matplotlib": Package("report", "matplotlib", "plots"),
}
