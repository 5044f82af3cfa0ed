"""From a model with exits to a verified engine directory, and to the fastest one at a precision."""

from etbac.compiler.compile import Compiled, CompileOptions, Written, compile, compile_model, write_chain
from etbac.compiler.engines import Built, EngineOptions
from etbac.compiler.optimize import Optimized, optimize

__all__ = [
    "Built",
    "CompileOptions",
    "Compiled",
    "EngineOptions",
    "Optimized",
    "Written",
    "compile",
    "compile_model",
    "optimize",
    "write_chain",
]
