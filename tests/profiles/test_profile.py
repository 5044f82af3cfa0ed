import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from etbac.profiles.profile import ChainTiming, Profile, Row
from etbac.profiles.timer import Timing


def timing(median_ms: float, spread: float = 0.02) -> Timing:
    return Timing(median_ms, 1.1 * median_ms, 1.2 * median_ms, spread, np.inf, 5)


@pytest.fixture
def measured() -> Profile:
    rows = (
        Row("segment-00", 3, (timing(1), timing(2))),
        Row("segment-01", 0, (timing(3), timing(4))),
        Row("full", 0, (timing(3.5), timing(5.5))),
    )
    chain = (ChainTiming("evenly", 8, (8, 4), timing(6.0), 5.0),)
    return Profile("onnxruntime", "cpu", "fp32", ("a", "b"), "c", {"cores": 2}, (1, 8), rows, chain, 1.5)


def test_it_reads_back_what_it_wrote(measured):
    assert Profile.from_json(json.loads(measured.to_json_text())) == measured


def test_the_matrix_holds_the_medians_and_the_full_model_apart(measured):
    matrix = measured.matrix
    assert matrix.stages == (3, 0)
    np.testing.assert_array_equal(matrix.stage_ms, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(matrix.full_ms, [3.5, 5.5])


def test_csv_has_a_line_for_every_figure(measured):
    lines = list(csv.DictReader(io.StringIO(measured.to_csv_text())))
    assert [(line["engine"], line["batch"]) for line in lines] == [
        ("segment-00", "1"),
        ("segment-00", "8"),
        ("segment-01", "1"),
        ("segment-01", "8"),
        ("full", "1"),
        ("full", "8"),
        ("chain, exits evenly", "8"),
    ]
    assert float(lines[5]["median_ms"]) == 5.5


def test_a_noisy_machine_is_warned_of_with_the_figure(measured):
    assert measured.warning is None
    noisy = replace(measured, rows=tuple(Row(row.engine, row.exit_id, (timing(1, 0.31),) * 2) for row in measured.rows))
    assert noisy.warning is not None
    assert "31%" in noisy.warning


def test_the_chain_is_compared_with_the_sum_of_its_engines(measured):
    assert measured.chain[0].ratio == pytest.approx(1.2)
