from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from support.two_blocks import make_engine_dir, make_inputs, make_weights, reference

from etbac.errors import VerificationError
from etbac.runtime.chain import load
from etbac.verification.chain import TOLERANCE, batches_to_check, verify_chain


@dataclass
class Uncut:
    """NumPy's answers of the two-block model, `wrong` added to one exit's."""

    wrong: float = 0.0
    exit_id: int = 7

    def answers(self, inputs):
        found = reference(make_weights(), inputs).answers
        by_exit = dict(zip((3, 7, 0), found, strict=True))
        by_exit[self.exit_id] = by_exit[self.exit_id] + self.wrong * np.abs(found).max()
        return {exit_id: {"prediction": answers} for exit_id, answers in by_exit.items()}


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    with load(make_engine_dir(tmp_path_factory.mktemp("chain") / "engines").path) as chain:
        yield chain


def test_the_model_that_was_cut_passes_at_every_batch_also_above_the_largest(chain):
    report = verify_chain(chain, Uncut(), {"made-up": make_inputs}, batches=(1, 2, 7, 20))
    assert {check.batch for check in report.checks} == {1, 2, 7, 20}
    assert report.require().largest <= TOLERANCE


@pytest.mark.parametrize("exit_id", [3, 7, 0])
def test_a_difference_at_any_exit_is_found_and_named(chain, exit_id):
    report = verify_chain(chain, Uncut(10 * TOLERANCE, exit_id), {"made-up": make_inputs}, batches=(7,))
    with pytest.raises(VerificationError, match=r"made-up inputs, .*batch 7: .*0.0001 is allowed"):
        report.require()


def test_without_forced_exits_only_the_full_model_is_compared(chain):
    report = verify_chain(chain, Uncut(1.0, 3), {"made-up": make_inputs}, batches=(4,), forced=False)
    assert [check.what for check in report.checks] == ["made-up inputs, exits off"]


@pytest.mark.parametrize(
    ("max_batch", "batches"),
    [(1, [1, 2]), (4, [1, 2, 4, 7]), (7, [1, 2, 7, 16]), (32, [1, 2, 7, 16, 32, 64]), (256, [1, 2, 7, 16, 64, 256])],
)
def test_batches_up_to_the_largest_are_checked_and_one_that_is_run_in_parts(max_batch, batches):
    assert batches_to_check(max_batch) == batches
