import numpy as np
import pytest
from support.two_blocks import INPUTS, make_engine_dir, make_inputs, make_weights, reference

import etbac
from etbac.errors import InputError
from etbac.metrics import METRICS
from etbac.planner.collect import collect, judge_full
from etbac.planner.samples import SampleSet

ROWS = 21


@pytest.fixture
def chain(tmp_path):
    with etbac.load(make_engine_dir(tmp_path / "engines").path) as chain:
        yield chain


@pytest.fixture
def truth():
    return reference(make_weights(), make_inputs(ROWS))


def test_every_exit_is_judged_by_the_labels(chain, truth):
    labels = np.arange(ROWS) % 3
    done: list[int] = []
    found = collect(chain, SampleSet(INPUTS, make_inputs(ROWS), labels), METRICS["accuracy"], progress=done.append)
    np.testing.assert_array_equal(found.scores, truth.answers.argmax(-1) == labels)
    np.testing.assert_array_equal(found.full_scores, found.scores[-1])
    np.testing.assert_allclose(found.confidence, truth.confidence[:-1], rtol=1e-5)
    assert found.exits == (3, 7)
    assert sum(done) == 2 * ROWS


def test_agreement_needs_no_labels_and_is_with_the_full_model(chain, truth):
    decisions = truth.answers.argmax(-1)
    found = collect(chain, SampleSet(INPUTS, make_inputs(ROWS), None), METRICS["agreement"])
    np.testing.assert_array_equal(found.scores, decisions == decisions[-1])
    assert found.full_scores.all()


def test_the_full_model_is_judged_alone(chain, truth):
    labels = np.zeros(ROWS, np.int64)
    samples = SampleSet(INPUTS, make_inputs(ROWS), labels)
    np.testing.assert_array_equal(
        judge_full(chain, samples, METRICS["accuracy"]).scores, truth.answers[-1].argmax(-1) == 0
    )


def test_missing_labels_are_said_with_the_metric_that_needs_none(chain):
    with pytest.raises(InputError, match="--metric agreement"):
        collect(chain, SampleSet(INPUTS, make_inputs(ROWS), None), METRICS["accuracy"])
