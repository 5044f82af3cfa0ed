"""What is said of a folder that does not hold the data set that is expected."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError

SHOWN = 8


def refuse(folder: Path, what: str, tree: str, lacks: str) -> NoReturn:
    """InputError: what the folder lacks, what is there, and the tree that is expected."""
    there = sorted(f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir())
    found = ", ".join(there[:SHOWN]) + (f" and {len(there) - SHOWN} more" if len(there) > SHOWN else "")
    expected = textwrap.indent(textwrap.dedent(tree).strip("\n"), "    ")
    raise InputError(f"{folder} is not {what}: it lacks {lacks}; in it is {found or 'nothing'}. Expected:\n{expected}")


def folders(path: Path) -> list[Path]:
    """Sub-folders by name; hidden ones and those with a leading underscore are left out."""
    if not path.is_dir():
        return []
    return sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith((".", "_")))


def published_parts(folder: Path, tests: Sequence[str]) -> list[Path]:
    """train/ and the first of the test parts named so that is there; the folder alone where it has not both."""
    there = [folder / name for name in tests if (folder / name).is_dir()]
    return [folder / "train", there[0]] if (folder / "train").is_dir() and there else [folder]


def files(path: Path, suffixes: frozenset[str]) -> list[Path]:
    """The folder's files with one of these suffixes, in any case, by name; hidden ones are left out."""
    names = sorted(name for name in os.listdir(path) if os.path.splitext(name)[1].lower() in suffixes)
    return [path / name for name in names if not name.startswith(".")]


def files_below(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    """The files with one of these suffixes, in any case, in sub-folders too, in order; hidden ones are left out."""
    found = (each for each in folder.rglob("*") if each.suffix.lower() in suffixes)
    return sorted(each for each in found if not any(part.startswith(".") for part in each.relative_to(folder).parts))


def by_class(path: Path, classes: Sequence[str], suffixes: frozenset[str]) -> tuple[list[Path], npt.NDArray[np.int64]]:
    """The files of `path`/<class>/ and the places of their classes; InputError for a class that has no folder."""
    found: list[Path] = []
    counts = []
    for name in classes:
        if not (path / name).is_dir():
            raise InputError(f"{path} has no folder {name!r}; each of the classes {', '.join(classes[:SHOWN])} has one")
        of_class = files(path / name, suffixes)
        found += of_class
        counts.append(len(of_class))
    return found, np.repeat(np.arange(len(classes)), counts)
