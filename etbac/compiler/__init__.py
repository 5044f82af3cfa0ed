"""From a model with exits to a verified engine directory."""

from etbac.compiler.compile import Compiled, CompileOptions, Written, compile, compile_model, write_chain
from etbac.compiler.engines import Built, EngineOptions

__all__ = ["Built", "CompileOptions", "Compiled", "EngineOptions", "Written", "compile", "compile_model", "write_chain"]
