"""TensorRT in two flavours, `tensorrt-rtx` (builds without a GPU) and `tensorrt`; what runs on a GPU is untested."""
