"""What sizes must be."""

from __future__ import annotations

from typing import Any

from etbac.errors import InputError


def require_whole(**sizes: Any) -> None:
    """InputError for a size by its name that is no whole number of at least 1."""
    for name, size in sizes.items():
        if type(size) is not int or size < 1:
            raise InputError(f"{name} is a whole number of at least 1; found {size!r}")
