"""The text of an exported program, checked before torch reads it: torch evaluates and imports what stands in it."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etbac.errors import UnsafeFileError

_OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims|higher_order|quantized_decomposed)\.(?!from_file\b)\w+(\.\w+)?"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|pow|neg|pos|abs|getitem|eq|ne|lt|le|gt|ge|and_|or_|xor|not_"
    r"|lshift|rshift)"
    r"|math\.\w+|torch\.sym_\w+|torch\._sym_\w+"
)
"""Operators that a program may name: torch resolves any dotted name below `torch`, `operator` and `math`."""

_CONTAINERS = frozenset({"builtins.tuple", "builtins.list", "builtins.dict"})

_FUNCTIONS = frozenset(
    (
        *("Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Max", "Min", "Eq", "Ne", "And", "Or", "Not"),
        *("Equality", "Unequality", "StrictLessThan", "LessThan", "StrictGreaterThan", "GreaterThan", "Where", "Mod"),
        *("FloorDiv", "CeilDiv", "CleanDiv", "IntTrueDiv", "FloatTrueDiv", "PythonMod", "ModularIndexing", "LShift"),
        *("RShift", "PowByNatural", "FloatPow", "CeilToInt", "FloorToInt", "RoundToInt", "RoundDecimal", "ToFloat"),
        *("TruncToFloat", "TruncToInt", "Identity", "IsNonOverlappingAndDenseIndicator"),
    )
)
"""What a shape expression may call: sympy evaluates it as Python text."""

_NAMES = frozenset({"true", "false", "oo", "int_oo", "zoo", "nan"})


def check_program_text(text: str, path: Path) -> None:
    """Raise UnsafeFileError if the program (JSON) names anything but torch's operators, shapes and plain containers."""
    for key, value in _items(json.loads(text)):
        if key in ("target", "as_operator") and not (isinstance(value, str) and _OPERATOR.fullmatch(value)):
            raise _refusal(path, f"calls {value!r}, which is no operator of torch")
        if key == "expr_str" and not _is_shape_expression(value):
            raise _refusal(path, f"has the shape {value!r}, which is more than arithmetic")
        if key in ("in_spec", "out_spec") and not _is_plain_tree(value):
            raise _refusal(path, "takes or returns a type that is no tuple, list or dict")
        if key in ("as_custom_obj", "custom_obj_values") and value:
            raise _refusal(path, "holds custom objects")


def _items(node: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value of a JSON document, at all depths."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if isinstance(current, dict):
            yield from current.items()
            waiting.extend(current.values())
        elif isinstance(current, list):
            waiting.extend(current)


def _is_shape_expression(text: Any) -> bool:
    """Calls of known functions on numbers, names of symbols and each other; nothing else."""
    if not isinstance(text, str):
        return False
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(_is_harmless(node) for node in ast.walk(tree.body))


def _is_harmless(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
    if isinstance(node, ast.Name):
        return node.id in _FUNCTIONS | _NAMES or re.fullmatch(r"[suz]\d+", node.id) is not None
    if isinstance(node, ast.Constant):
        return isinstance(node.value, (bool, int, float)) or bool(re.fullmatch(r"[\w.+-]{1,64}", str(node.value)))
    return isinstance(node, (ast.keyword, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.expr_context))


def _is_plain_tree(text: Any) -> bool:
    if not isinstance(text, str) or "__enum__" in text:
        return False
    types = [value for key, value in _items(json.loads(text)) if key == "type"]
    return all(kind is None or (isinstance(kind, str) and kind in _CONTAINERS) for kind in types)


def _refusal(path: Path, what: str) -> UnsafeFileError:
    return UnsafeFileError(
        f"{path}: its program {what}; reading it could execute code, so it is refused without --trust"
    )
