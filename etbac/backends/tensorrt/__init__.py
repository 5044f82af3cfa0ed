"""TensorRT in two flavours, `tensorrt-rtx` (builds without a GPU) and `tensorrt`; docs/gpu.md says what has run."""
