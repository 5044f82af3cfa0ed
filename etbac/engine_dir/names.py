"""Names of the files in an engine directory: `<stem>.<first 8 digits of SHA-256><suffix>`."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

MANIFEST = "manifest.json"
READINGS = "readings.json"
LOCK = ".lock"
TEMPORARY = ".etbac-tmp"
FOLDERS = ("plans", "profiles")

_HASHED = re.compile(
    r"(?P<stem>segment-\d{2,}|weights|full|samples|(?:plans|profiles)/[A-Za-z0-9_]+(?:-[A-Za-z0-9_]+)*)"
    r"\.[0-9a-f]{8}(?P<suffix>\.(?:onnx|bin|npz|json|csv))"
)


def hashed(stem: str, suffix: str, sha256: str) -> str:
    """The name of a file with that content."""
    name = f"{stem}.{sha256[:8]}{suffix}"
    if not _HASHED.fullmatch(name):
        raise ValueError(f"{name!r} is not a name of an engine directory's file")
    return name


def is_hashed(name: str) -> bool:
    return _HASHED.fullmatch(name) is not None


def is_temporary(name: str) -> bool:
    return name.endswith(TEMPORARY)


def without_hash(name: str) -> tuple[str, str]:
    """(stem, suffix): what stays the same when a file's content changes."""
    match = _HASHED.fullmatch(name)
    return (match["stem"], match["suffix"]) if match else (name, "")


def in_root(name: str) -> bool:
    return len(PurePosixPath(name).parts) == 1
