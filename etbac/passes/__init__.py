"""Compiler passes: each a small `onnx_ir` pass, gates among them, and `split_at_exits` between the two pipelines."""
