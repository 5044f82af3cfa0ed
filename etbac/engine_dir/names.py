"""Names of the files in an engine directory: `<stem>.<first 8 digits of SHA-256><suffix>`."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

MANIFEST = "manifest.json"
READINGS = "readings.json"
REPORT = "report.html"
LOCK = ".lock"
TEMPORARY = ".etbac-tmp"
FOLDERS = ("plans", "profiles", "statistics", "engines/*")
"""Patterns of the folders whose files etbac names."""
ENGINES = "engines"
SET = "engines"
"""Stem, inside its folder, of the file that lists a set of engines."""

_WORDS = r"[A-Za-z0-9_]+(?:-[A-Za-z0-9_]+)*"
_HASHED = re.compile(
    rf"(?P<stem>(?:{ENGINES}/{_WORDS}/)?(?:segment-\d{{2,}}|weights|full)|{ENGINES}/{_WORDS}/(?:{SET}|timing)"
    rf"|samples|(?:plans|profiles|statistics)/{_WORDS})"
    r"\.[0-9a-f]{8}(?P<suffix>\.[a-z0-9]{1,16})"
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


def folder_of_set(backend: str, device: str, dtype: str) -> str:
    return f"{ENGINES}/{backend}-{device}-{dtype}"


def of_set(name: str) -> tuple[str, str] | None:
    """Backend and dtype of the set whose folder holds that file."""
    match = re.fullmatch(rf"{ENGINES}/(.+?)-(?:any|cpu|cuda(?:-sm\d+)?)-(\w+)", folder(name))
    return (match[1], match[2]) if match else None


def folder(name: str) -> str:
    """ "" for a file in the root."""
    parent = PurePosixPath(name).parent.as_posix()
    return "" if parent == "." else parent


def is_set(name: str) -> bool:
    """Whether it is the file that lists a set of engines."""
    return without_hash(name) == (f"{folder(name)}/{SET}", ".json") and name.startswith(f"{ENGINES}/")


def in_root(name: str) -> bool:
    return len(PurePosixPath(name).parts) == 1
