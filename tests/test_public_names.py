from __future__ import annotations

import subprocess
import sys

import pytest

import etbac


def test_the_public_names_are_these() -> None:
    assert etbac.__all__ == [
        "Watch",
        "__version__",
        "attach_exits",
        "compile",
        "load",
        "optimize",
        "plan",
        "profile",
        "rebatch",
        "train",
        "verify",
    ]
    assert set(etbac.__all__) <= set(dir(etbac))


@pytest.mark.parametrize("name", [name for name in etbac.__all__ if name != "__version__"])
def test_every_public_name_is_a_documented_function(name: str) -> None:
    function = getattr(etbac, name)
    assert callable(function)
    assert function.__name__ == name
    assert function.__doc__


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'optimise'; it has .*attach_exits, compile, load"):
        etbac.optimise  # noqa: B018


def test_importing_etbac_imports_only_the_standard_library() -> None:
    code = "import sys; before = set(sys.modules); import etbac; print(*sorted(set(sys.modules) - before))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    foreign = {name.split(".")[0] for name in printed.split()} - set(sys.stdlib_module_names) - {"etbac"}
    assert foreign == set()
    assert {name for name in printed.split() if name.startswith("etbac")} == {"etbac", "etbac._version"}
