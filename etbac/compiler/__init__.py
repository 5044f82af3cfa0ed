"""From a model with exits to a verified engine directory."""

from etbac.compiler.compile import Compiled, CompileOptions, compile, compile_model, write_chain

__all__ = ["CompileOptions", "Compiled", "compile", "compile_model", "write_chain"]
