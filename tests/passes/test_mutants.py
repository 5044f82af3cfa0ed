"""A test of the tests: each of these bugs, put into the splitter, shows within a hundred random graphs."""

from __future__ import annotations

import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as errors
from support.chain_checks import check_rows, compile_case, kept_exits
from support.mutants import MISSED, MUTANTS, mixer_missed
from support.random_graphs import Case, random_graph
from support.row_mixers import MIXERS

from etbac.errors import UnsupportedModelError

GRAPHS = 100

SHOWS = (AssertionError, ValueError, errors.InvalidArgument, errors.Fail, errors.RuntimeException, errors.InvalidGraph)
"""A row that differs, or a cut that fails, or a segment that does not load or run."""

pytestmark = pytest.mark.long


def _shows(case: Case) -> bool:
    kept = kept_exits(case)
    try:
        check_rows(case, kept, compile_case(case, kept))
    except UnsupportedModelError:
        return False
    except SHOWS:
        return True
    return False


@pytest.mark.parametrize("name", MUTANTS)
def test_a_bug_in_the_splitter_shows_within_a_hundred_graphs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name](monkeypatch)
    graphs = next((seed + 1 for seed in range(GRAPHS) if _shows(random_graph(seed))), None)
    assert graphs is not None, f"{name} was not caught by {GRAPHS} graphs"
    print(f"{name}: caught by graph {graphs}")


@pytest.mark.parametrize("name", MISSED)
def test_a_row_mixer_that_is_missed_shows_within_a_hundred_graphs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is compiled, where the whole suite asks for a refusal."""
    op_type, mixer = MISSED[name]
    mixer_missed(op_type)(monkeypatch)
    graphs = 0
    for seed in range(GRAPHS):
        case = random_graph(seed, mixer=MIXERS[mixer])
        graphs = seed + 1
        try:
            compile_case(case, kept_exits(case))
        except UnsupportedModelError:
            continue
        break
    else:
        pytest.fail(f"{name} was not caught by {GRAPHS} graphs")
    print(f"{name}: caught by graph {graphs}")
