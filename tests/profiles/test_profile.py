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


@pytest.fixture
def at_lengths(measured) -> Profile:
    """At the lengths 10 and 30, each figure there 10 ms above the one at 10."""
    rows = tuple(
        replace(row, timings=(*row.timings, *(timing(each.median_ms + 10) for each in row.timings)))
        for row in measured.rows
    )
    return replace(measured, rows=rows, chain=(replace(measured.chain[0], length=30),), lengths=(10, 30))


def test_lengths_are_read_back_too(at_lengths):
    assert Profile.from_json(json.loads(at_lengths.to_json_text())) == at_lengths


@pytest.mark.parametrize(
    ("length", "full_ms"),
    [(10, [3.5, 5.5]), (20, [8.5, 10.5]), (30, [13.5, 15.5]), (5, [3.5, 5.5]), (60, [27, 31])],
)
def test_the_matrix_at_a_length(at_lengths, length, full_ms):
    matrix = at_lengths.matrix_at(length)
    np.testing.assert_allclose(matrix.full_ms, full_ms)
    assert matrix.stage_ms.shape == (2, 2)


def test_the_matrix_without_a_length_is_at_the_largest(at_lengths):
    np.testing.assert_array_equal(at_lengths.matrix.stage_ms, [[11, 12], [13, 14]])


def test_csv_has_a_column_of_lengths_where_there_are_any(measured, at_lengths):
    lines = list(csv.DictReader(io.StringIO(at_lengths.to_csv_text())))
    assert [(line["batch"], line["length"]) for line in lines[:4]] == [
        ("1", "10"),
        ("8", "10"),
        ("1", "30"),
        ("8", "30"),
    ]
    assert (lines[-1]["batch"], lines[-1]["length"], lines[-1]["median_ms"]) == ("8", "30", "6.0")
    assert "length" not in measured.to_csv_text()


def test_a_slower_format_is_said_with_its_point(at_lengths):
    faster = replace(at_lengths.rows[0], timings=(*at_lengths.rows[0].timings[:3], timing(6)))
    (sentence,) = replace(at_lengths, beside=(faster,)).slower
    assert "2.00 times its latency at batch 8 and length 30" in sentence


def test_a_noisy_machine_is_warned_of_with_the_figure(measured):
    assert measured.warning is None
    noisy = replace(measured, rows=tuple(Row(row.engine, row.exit_id, (timing(1, 0.31),) * 2) for row in measured.rows))
    assert noisy.warning is not None
    assert "31%" in noisy.warning


def test_the_chain_is_compared_with_the_sum_of_its_engines(measured):
    assert measured.chain[0].ratio == pytest.approx(1.2)


def test_what_a_batch_costs_beyond_its_engines_is_told_by_how_many_of_them_run(measured):
    first = ChainTiming("at first", 8, (8, 0), timing(2.5), 2.0)
    whole = replace(
        measured,
        chain=(
            *(first, replace(first, batch=1, sizes=(1, 0), timing=timing(1.25), matrix_ms=1.0)),
            *(measured.chain[0], ChainTiming("evenly", 1, (1, 1), timing(4.0), 4.0)),
        ),
    )
    table = whole.matrix.beyond_at(8)
    np.testing.assert_allclose(table[:, 8], [0.5, 0.5])
    np.testing.assert_allclose(table[:, 0], 0)
    np.testing.assert_allclose(whole.matrix.beyond_at(1), [[0, 0.25], [0, 0]])
    assert not measured.matrix.beyond_at(8).any()


def test_single_runs_are_kept_as_ratios_to_their_median(measured):
    rows = tuple(replace(row, timings=(replace(row.timings[0], samples=(1, 2, 4)),) * 2) for row in measured.rows)
    matrix = replace(measured, rows=rows).matrix
    assert sorted(set(matrix.runs_at(8)[1, 3].round(3))) == [0.333, 0.667, 1.333]
    assert matrix.full_quantile(8, 1.0) == pytest.approx(3.5 * 4 / 3.5)
    assert set(measured.matrix.runs_at(8).ravel()) == {1.0}
