"""Where real data are: looked for on this machine, otherwise taken from the Debian package that ships them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

FASHION_MNIST = tuple(
    f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)


def fashion_mnist(into: Path = Path("data/fashion-mnist")) -> Path:
    """The folder with Fashion-MNIST's four files; SystemExit with what to do where it can't be had."""
    asked = [Path(folder) for folder in [os.environ.get("ETBAC_DATA")] if folder]
    return _find("dataset-fashion-mnist", Path("/usr/share/datasets/fashion-mnist"), FASHION_MNIST, [*asked, into])


def wordnet(into: Path = Path("data/wordnet")) -> Path:
    """The folder with WordNet's nouns, with their glosses; SystemExit with what to do where it can't be had."""
    return _find("wordnet-base", Path("/usr/share/wordnet"), ("data.noun",), [into])


def nouns(folder: Path, subjects: int) -> list[tuple[str, int]]:
    """WordNet's nouns as glosses without their examples, each with its subject (lexicographer file): its place among
    the `subjects` commonest, in the file's order; nouns of other subjects are left out."""
    entries = [line.split(" | ") for line in (folder / "data.noun").read_text().splitlines() if line[:1].isdigit()]
    found = [int(head.split()[1]) for head, _ in entries]
    kept = [subject for subject, _ in Counter(found).most_common(subjects)]
    return [(text.split('; "')[0], kept.index(s)) for (_, text), s in zip(entries, found, strict=True) if s in kept]


def unpack(package: str, into: Path) -> None:
    """A Debian package's files, into a folder; SystemExit where it can't be had."""
    with tempfile.TemporaryDirectory() as scratch:
        if not _download(package, scratch):
            raise SystemExit(f"the package {package} could not be fetched (apt-get update may be needed, as root)")
        into.mkdir(parents=True, exist_ok=True)
        subprocess.run(["dpkg", "-x", str(next(Path(scratch).glob("*.deb"))), str(into)], check=True)


def _find(package: str, installed: Path, names: Sequence[str], folders: Sequence[Path]) -> Path:
    """The first of these folders, and of where the package puts them, that has the files; else the last, filled."""
    *_, into = folders
    for folder in (*folders, installed):
        if all((folder / name).is_file() for name in names):
            return folder
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise SystemExit(f"the files of {package} are not here. Put {', '.join(names)} into {into}/")
    with tempfile.TemporaryDirectory() as scratch:
        unpack(package, Path(scratch))
        into.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copy(Path(scratch, *installed.parts[1:], name), into / name)
    return into


def _download(package: str, folder: str) -> bool:
    command = ["apt-get", "download", "-qq", package]
    if subprocess.run(command, cwd=folder, capture_output=True).returncode == 0:
        return True
    subprocess.run(["apt-get", "update", "-qq"], capture_output=True)
    return subprocess.run(command, cwd=folder, capture_output=True).returncode == 0
