from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.pixels import pixel_data, pixel_engines
from support.two_blocks import INPUTS, make_engine_dir, make_inputs

import etbac
from etbac.engine_dir import EngineDir
from etbac.metrics import METRICS
from etbac.planner.collect import collect
from etbac.planner.recorded import collect_once
from etbac.planner.samples import SampleSet, read_npz

ROWS = 21
SAMPLES = SampleSet(INPUTS, make_inputs(ROWS), np.arange(ROWS) % 3)


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    return make_engine_dir(tmp_path / "engines").path


def collected(engines: Path, samples: SampleSet = SAMPLES, metric: str = "accuracy"):
    """The statistics, and how many samples ran to get them."""
    ran: list[int] = []
    with etbac.load(engines) as chain:
        return collect_once(chain, samples, METRICS[metric], ran.append), sum(ran)


def test_the_second_time_nothing_runs_and_the_figures_are_the_same(engines):
    (first, ran), (second, ran_again) = collected(engines), collected(engines)
    with etbac.load(engines) as chain:
        expected = collect(chain, SAMPLES, METRICS["accuracy"])
    assert (ran, ran_again) == (2 * ROWS, 0)
    for statistics in (first, second):
        assert statistics.exits == expected.exits
        for name in ("confidence", "scores", "full_scores", "classes"):
            np.testing.assert_array_equal(getattr(statistics, name), getattr(expected, name))


def test_without_labels_there_are_no_classes(engines):
    unlabelled = SampleSet(INPUTS, make_inputs(ROWS), None)
    assert [collected(engines, unlabelled, "agreement")[0].classes for _ in range(2)] == [None, None]


def test_another_set_metric_or_chain_is_collected_anew(engines, tmp_path):
    collected(engines)
    assert collected(engines, SampleSet(INPUTS, make_inputs(ROWS, seed=1), SAMPLES.labels))[1] == 2 * ROWS
    assert collected(engines, metric="agreement")[1] == ROWS
    assert collected(engines, metric="agreement")[1] == 0
    make_engine_dir(engines, seed=5)
    assert collected(engines, metric="agreement")[1] == ROWS


@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(b"PK"), Path.unlink])
def test_what_is_damaged_is_collected_again(engines, damage):
    collected(engines)
    (file,) = engines.glob("statistics/*.npz")
    damage(file)
    assert collected(engines)[1] == 2 * ROWS
    assert collected(engines)[1] == 0
    EngineDir.open(engines)


def test_one_file_is_kept(engines):
    for seed in range(3):
        collected(engines, SampleSet(INPUTS, make_inputs(ROWS, seed), SAMPLES.labels))
    assert len(list(engines.glob("statistics/*"))) == 1


def test_parts_and_units_are_those_of_the_metric_and_the_samples(tmp_path):
    engines = pixel_engines(tmp_path)
    whole = read_npz(pixel_data(tmp_path / "data.npz", rows=40), EngineDir.open(engines).manifest.inputs)
    samples = replace(whole, units=np.arange(40) // 2)
    first, _ = collected(engines, samples, "miou")
    second, ran = collected(engines, samples, "miou")
    other, ran_again = collected(engines, whole, "miou")
    assert ran == ran_again == 0
    for name in ("chain", "full"):
        np.testing.assert_array_equal(getattr(first.parts, name), getattr(second.parts, name))
    assert first.parts.chain.shape == (2, 40, 6)
    assert second.parts.value is METRICS["miou"].value
    np.testing.assert_array_equal(second.units, samples.units)
    assert other.units is None
    assert second.replay({1: 0.9}).precision == first.replay({1: 0.9}).precision
