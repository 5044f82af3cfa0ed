"""`make doctor-check`: every optional package removed in turn, for real, from an environment of its own.

After each removal `etbac doctor` must exit with 0, print no traceback, and say how to install what is missing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from etbac.cli.optional import PACKAGES

ROOT = Path(__file__).parents[2]
EXTRAS = "cpu,tensorrt-rtx,openvino,train,report"
REMOVED = (
    "onnxruntime",
    "openvino",
    "polygraphy",
    "tensorrt-rtx-cu13-bindings",
    "onnxruntime-ep-nv-tensorrt-rtx-cu13",
    "torch",
    "transformers",
    "matplotlib",
)
STARTED = float(os.environ.get("ETBAC_STARTED", time.time()))


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        say(f"an environment with etbac[{EXTRAS}] in {folder}")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [f"{folder}/bin/python", "-m", "pip", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "-c", "constraints.txt", "-e", f".[{EXTRAS}]"], cwd=ROOT, check=True)
        failed = ["nothing"] if faults(folder, None) else []
        for name in REMOVED:
            subprocess.run([*pip, "uninstall", "-y", name], cwd=ROOT, check=True)
            failed += [name] if faults(folder, name) else []
            subprocess.run([*pip, "install", "--no-deps", "-c", "constraints.txt", name], cwd=ROOT, check=True)
    minutes = (time.time() - STARTED) / 60
    verdict = f"FAILED make doctor-check: {', '.join(failed)}" if failed else "PASSED make doctor-check"
    say(f"{verdict}; {len(REMOVED)} packages removed in turn, {minutes:.1f} minutes")
    return 1 if failed else 0


def faults(folder: str, removed: str | None) -> list[str]:
    """What is wrong with what doctor says without `removed`; all of it is printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [f"{folder}/bin/etbac", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    say(f"\n== without {removed or 'nothing'}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    lines = [line for line in done.stdout.splitlines() if line.startswith(f"│ {removed} ")]
    found = [
        (done.returncode != 0, "the exit code is not 0"),
        ("Traceback" in done.stdout + done.stderr, "a traceback"),
        (removed is not None and not any(PACKAGES[removed].install in line for line in lines), "no line to install it"),
    ]
    wrong = [sentence for is_wrong, sentence in found if is_wrong]
    say("\n".join(f"WRONG: {sentence}" for sentence in wrong) or "as it should be")
    return wrong


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
