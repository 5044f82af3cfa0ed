"""Frontends: every kind of model file, or a module in memory, to an ExitModel."""

from etbac.frontend.inputs import InputShape, make_inputs, parse_input_shape
from etbac.frontend.kinds import Kind, kind_of
from etbac.frontend.load import LoadOptions, load_model
from etbac.frontend.torch_export import from_module

__all__ = [
    "InputShape",
    "Kind",
    "LoadOptions",
    "from_module",
    "kind_of",
    "load_model",
    "make_inputs",
    "parse_input_shape",
]
