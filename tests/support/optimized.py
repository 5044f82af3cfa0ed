"""What a test of `optimize` starts from: engines that take what is said, and data whose exits err where it is said."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from support.even_profile import write_even_profile
from support.two_blocks import make_inputs, make_weights, reference

ROWS = 4_000


def take_even_profiles(monkeypatch: pytest.MonkeyPatch, last_ms: tuple[float, ...] = (20.0, 160.0)) -> None:
    """Leaving before the last segment pays, whatever this machine's noise: the exits chosen follow from the data."""
    even = partial(write_even_profile, last_ms=last_ms)
    monkeypatch.setattr(import_module("etbac.compiler.optimize"), "profile", lambda path, **how: even(path))


def labelled(path: Path) -> Path:
    """Random inputs with the full model's own answers as labels."""
    inputs = make_inputs(3_000, seed=1)
    labels = reference(make_weights(), inputs).answers[-1].argmax(-1)
    np.savez(path, **inputs, labels=labels)
    return path


def never_right(path: Path, rows: slice | npt.NDArray[Any] = slice(None)) -> Path:
    """As `labelled`, of inputs with which at these rows every exit errs, and at the others none does."""
    inputs = make_inputs(20_000, seed=2)
    *early, labels = reference(make_weights(), inputs).answers.argmax(-1)
    right, wrong = (np.flatnonzero(np.all(early == labels, 0)), np.flatnonzero(np.all(early != labels, 0)))
    chosen = right[:ROWS].copy()
    chosen[rows] = wrong[: len(chosen[rows])]
    taken = {"x": inputs["x"][chosen], "scale": inputs["scale"], "unread": inputs["unread"][chosen]}
    np.savez(path, **taken, labels=labels[chosen])
    return path


def misleading(path: Path) -> Path:
    """The search set promises everything, and the certify set keeps nothing."""
    return never_right(path, np.sort(np.random.default_rng(0).permutation(ROWS)[ROWS // 2 :]))
