"""Where real data are: looked for on this machine, otherwise taken from the Debian package that ships them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
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


def _find(package: str, installed: Path, names: Sequence[str], folders: Sequence[Path]) -> Path:
    """The first of these folders, and of where the package puts them, that has the files; else the last, filled."""
    *_, into = folders
    for folder in (*folders, installed):
        if all((folder / name).is_file() for name in names):
            return folder
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise SystemExit(f"the files of {package} are not here. Put {', '.join(names)} into {into}/")
    with tempfile.TemporaryDirectory() as scratch:
        if not _download(package, scratch):
            raise SystemExit(
                f"the package {package} could not be fetched (apt-get update may be needed, as root). "
                f"Or put its files ({', '.join(names)}) into {into}/"
            )
        archive = next(Path(scratch).glob("*.deb"))
        subprocess.run(["dpkg", "-x", str(archive), scratch], check=True)
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
