import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from support.even_profile import write_even_profile
from support.small_network import make_images, make_network, torch_answers

import etbac
from benchmarks.plan.drift import (
    FalseAlarms,
    Grade,
    blur,
    blur_table,
    fallen,
    false_alarms,
    false_alarms_table,
    gates,
    graded,
    measures,
)
from benchmarks.plan.guarantee import made_up
from etbac.planner.drift import LEVEL
from etbac.planner.plan import plan
from etbac.planner.samples import SampleSet

GRADE = Grade(0.0, full=0.9, chain=0.9, precision=1.0, of_clean=1.0, streams=9, alarmed=0.0, median=None, q95=None)


@pytest.mark.parametrize(("level", "fewest", "most"), [(LEVEL, 0, 2), (0.9, 6, 40)])
def test_alarms_are_as_rare_as_the_level_says(level: float, fewest: int, most: int):
    population = made_up("made up", 0.97, "betting", exits=2, n=3_000)
    thresholds = dict.fromkeys(population.statistics.exits, 0.8)
    found = false_alarms("made up", population.statistics, thresholds, 40, 500, level, workers=1)
    assert (found.streams, found.samples, found.level) == (40, 500, level)
    assert fewest <= found.alarms <= most
    assert all(measure.met for measure in gates([found])) is (level == LEVEL)
    assert false_alarms_table([found]).row_count == 1
    assert FalseAlarms(**json.loads(json.dumps(asdict(found)))) == found


def test_a_blur_spreads_each_image_alone_and_keeps_what_is_normalised():
    images = np.zeros((2, 1, 15, 15), np.float32)
    images[0, 0, 7, 7] = 1
    blurred = blur(images, 1.5)
    row = blurred[0, 0].sum(axis=0)
    assert row.sum() == pytest.approx(1, abs=1e-5)
    assert ((np.arange(15) - 7) ** 2 * row).sum() == pytest.approx(1.5**2, rel=0.05)
    assert not blurred[1].any()
    noise = np.random.default_rng(0).random((2, 1, 9, 9), np.float32)
    np.testing.assert_allclose(blur((noise - 0.3) / 0.2, 2.0), (blur(noise, 2.0) - 0.3) / 0.2, atol=1e-5)


def test_the_blur_that_counts_is_the_smallest_that_costs_a_point():
    grades = [GRADE, replace(GRADE, sigma=1, precision=0.991), replace(GRADE, sigma=2, precision=0.989, chain=0.8)]
    assert fallen(grades) == ("precision", grades[2])
    hidden = [replace(grade, precision=1.0) for grade in grades]
    assert fallen(hidden) == ("accuracy (precision never falls by one)", hidden[2])
    assert fallen(grades[:1])[1] is None
    assert not any(measure.met for measure in [*gates([], grades[:1]), *measures(grades[:1])])


@pytest.mark.parametrize(("alarmed", "met"), [(0.4, [False, False]), (0.6, [True, False]), (0.96, [True, True])])
def test_the_gate_is_the_median_and_the_measure_nearly_all(alarmed: float, met: list[bool]):
    grades = [GRADE, replace(GRADE, sigma=1, precision=0.9, alarmed=alarmed)]
    assert [measure.met for measure in [*gates([], grades), *measures(grades)]] == met


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a plan that agreement with the full model certifies."""
    folder = tmp_path_factory.mktemp("drift")
    network, images = make_network(), make_images(2_000)
    np.savez(folder / "data.npz", **images, labels=torch_answers(network, images)[0].argmax(-1))
    etbac.compile(network, folder / "engines", example_inputs=make_images(2), exits=[1, 2])
    write_even_profile(folder / "engines")
    plan(folder / "engines", 0.5, data=folder / "data.npz")
    return folder / "engines"


def test_blurred_images_raise_the_alarm_and_others_do_not(engines: Path):
    network, images = make_network(), make_images(400, seed=1)
    seen: list[Grade] = []
    with etbac.load(engines) as chain:
        labels = torch_answers(network, images)[0].argmax(-1)
        test = SampleSet(tuple(chain.manifest.inputs), images, labels)
        grades, clean = graded(chain, test, (0.0, 2.0), streams=5, progress=seen.append)
    assert grades == seen
    none, blurred = grades
    assert none.full == clean.full_scores.mean() == 1
    assert none.precision == none.of_clean == none.chain
    assert (none.alarmed, none.median) == (0.0, None)
    assert blurred.chain != none.chain
    assert blurred.of_clean == blurred.chain == pytest.approx(blurred.precision * blurred.full)
    assert blurred.alarmed == 1
    assert 0 < blurred.median <= blurred.q95 <= 1_000
    assert blur_table(grades).row_count == 2
    assert Grade(**json.loads(json.dumps(asdict(blurred)))) == blurred
