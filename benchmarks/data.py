"""Where the demo's images are: looked for on this machine, otherwise taken from the Debian package."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

FILES = tuple(f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
PACKAGE = "dataset-fashion-mnist"
INSTALLED = Path("/usr/share/datasets/fashion-mnist")


def fashion_mnist(into: Path = Path("data/fashion-mnist")) -> Path:
    """The folder with Fashion-MNIST's four files; SystemExit with what to do where it can't be had."""
    for folder in (Path(os.environ.get("ETBAC_DATA", into)), into, INSTALLED):
        if all((folder / name).is_file() for name in FILES):
            return folder
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise SystemExit(f"Fashion-MNIST is not here. Put its four files ({', '.join(FILES)}) into {into}/")
    with tempfile.TemporaryDirectory() as scratch:
        if not _download(scratch):
            raise SystemExit(
                f"the package {PACKAGE} could not be fetched (apt-get update may be needed, as root). "
                f"Or put Fashion-MNIST's four files ({', '.join(FILES)}) into {into}/"
            )
        package = next(Path(scratch).glob("*.deb"))
        subprocess.run(["dpkg", "-x", str(package), scratch], check=True)
        into.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copy(Path(scratch, *INSTALLED.parts[1:], name), into / name)
    return into


def _download(folder: str) -> bool:
    command = ["apt-get", "download", "-qq", PACKAGE]
    if subprocess.run(command, cwd=folder, capture_output=True).returncode == 0:
        return True
    subprocess.run(["apt-get", "update", "-qq"], capture_output=True)
    return subprocess.run(command, cwd=folder, capture_output=True).returncode == 0
