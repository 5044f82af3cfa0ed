"""How much is run."""

from __future__ import annotations

from pathlib import Path

from benchmarks.results.row import QUICK

SIZES = (16,) if QUICK else (1, 4, 16, 64)
HEADLINE = 16
MAX_BATCH = max(SIZES)
FOLDER = Path("results/quick" if QUICK else "results")
MINUTES = 5.0 if QUICK else 45.0
CALIBRATION = 64 if QUICK else 512
