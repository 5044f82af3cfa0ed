"""The two-blocks chain, stage by stage on a backend that is no ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from support.two_blocks import Reference, make_inputs, make_weights, reference

from etbac.runtime.stage import Stage


def walk(stages: Sequence[Stage], rows: int, seed: int = 0) -> None:
    """Two of three rows go on after each exit; every answer must be the reference's."""
    inputs = make_inputs(rows, seed)
    expected: Reference = reference(make_weights(), inputs)
    carried, left, keep = [inputs[name] for name in stages[0].inputs], np.arange(rows), np.arange(rows)
    for place, stage in enumerate(stages):
        given = stage.run(carried, keep, 0.5)
        np.testing.assert_allclose(given.predictions()[0], expected.answers[place, left], rtol=1e-5, atol=1e-5)
        if place + 1 < len(stages):
            np.testing.assert_allclose(given.confidence(), expected.confidence[place, left], rtol=1e-5)
            np.testing.assert_array_equal(given.exit_mask(), expected.confidence[place, left] >= 0.5)
        keep = np.flatnonzero(np.arange(len(left)) % 3 != 1)
        carried, left = given.boundary, left[keep]


def walk_together(stages: Sequence[Stage], most: int) -> None:
    """Four threads, in batches of 1 to `most`."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: walk(stages, 1 + seed % most, seed), range(40)))


def run_twice_and_read_the_first(stages: Sequence[Stage], atol: float = 1e-6) -> None:
    """What an engine gave must not be changed by its next run."""
    first, second = make_inputs(4, seed=1), make_inputs(4, seed=2)
    before = stages[0].run([first["x"], first["scale"]], np.arange(4), 0.5)
    stages[0].run([second["x"], second["scale"]], np.arange(4), 0.5)
    expected = reference(make_weights(), first).answers[0]
    np.testing.assert_allclose(before.predictions()[0], expected, rtol=1e-5, atol=atol)
