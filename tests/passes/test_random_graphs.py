"""The compiler core against random graphs: every row of the chain is the uncut graph's at the exit where it left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from support.chain_checks import check_case, compile_case, failure, kept_exits, report, scale_of
from support.random_graphs import Case, random_graph
from support.row_mixers import MIXERS, RANDOM
from support.segment_chain import session

from etbac.errors import UnsupportedModelError

MAX_REFUSED = 0.05
"""Share of row-independent graphs that may be refused because nothing could be proved."""

GRAPHS, LONG_GRAPHS = 100, 2000
BLOCK = 20
"""Graphs of one test: small enough to be spread over processes."""


# -- the generator itself --


def _outputs_by_row(case: Case, *batches: dict[str, np.ndarray]) -> list[list[np.ndarray]]:
    """For each batch the outputs of all exits and of the full model, rows on axis 0; one session runs them all."""
    runner = session(case.model)
    places = [(output, case.axes[name]) for head in (*case.exits.values(), case.full) for name, output in head.items()]
    names = [output for output, _ in places]
    return [
        [np.moveaxis(array, axis, 0) for array, (_, axis) in zip(runner.run(names, batch), places, strict=True)]
        for batch in batches
    ]


def _others_changed(case: Case, inputs: dict[str, np.ndarray], row: int, seed: int) -> dict[str, np.ndarray]:
    """The same batch with every row but one replaced."""
    changed = case.draw(np.random.default_rng([seed, 1]), 4)
    for spec in case.inputs:
        if spec.axis is None:
            changed[spec.name] = inputs[spec.name]
            continue
        place = (slice(None),) * spec.axis + (row,)
        changed[spec.name][place] = inputs[spec.name][place]
    return changed


@pytest.mark.parametrize("first", range(0, GRAPHS, 2 * BLOCK))
def test_a_generated_graph_is_row_independent(first: int) -> None:
    for seed in range(first, first + 2 * BLOCK):
        case = random_graph(seed)
        inputs = case.draw(np.random.default_rng(seed), 4)
        before, after = _outputs_by_row(case, inputs, _others_changed(case, inputs, 2, seed))
        for a, b in zip(before, after, strict=True):
            np.testing.assert_allclose(a[2], b[2], rtol=0, atol=1e-5 * scale_of(a), err_msg=f"seed {seed}")


def test_generated_graphs_depend_on_their_rows_and_hold_what_breaks_splitters() -> None:
    seen: Counter[str] = Counter()
    for seed in range(GRAPHS):
        case = random_graph(seed)
        seen.update({node.op_type for node in case.model.graph.node})
        seen.update(f"input on axis {spec.axis}" for spec in case.inputs)
        seen.update(f"output on axis {axis}" for axis in case.axes.values())
        inputs = case.draw(np.random.default_rng(seed), 4)
        other = case.draw(np.random.default_rng([seed, 1]), 4)
        before, after = _outputs_by_row(case, inputs, other)
        seen["constant graph"] += all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    kinds = ["If", "Loop", "Scan", "LSTM", "Range", "ConstantOfShape", "Expand", "GatherND", "Transpose", "Shape"]
    kinds += ["input on axis 1", "input on axis None", "output on axis 1", "LayerNormalization", "Tile", "Split"]
    assert [kind for kind in kinds if not seen[kind]] == []
    assert seen["constant graph"] <= GRAPHS // 20


@pytest.mark.parametrize("name", MIXERS)
def test_a_mixer_mixes(name: str) -> None:
    """In a few graphs at least: in others another step may hide it."""
    found = 0
    for seed in range(12):
        case = random_graph(seed, mixer=MIXERS[name])
        inputs = case.draw(np.random.default_rng(seed), 4)
        changed = inputs if name in RANDOM else _others_changed(case, inputs, 2, seed)
        before, after = _outputs_by_row(case, inputs, changed)
        found += any(abs(a[2] - b[2]).max() > 1e-4 * scale_of(a) for a, b in zip(before, after, strict=True))
    assert found >= 2


# -- the compiler --


def _check_block(seeds: Sequence[int], folder: Path) -> None:
    refused = []
    for seed in seeds:
        case = random_graph(seed)
        try:
            check_case(case)
        except UnsupportedModelError as error:
            refused.append(f"seed {seed}: {error}")
        except Exception as error:
            raise AssertionError(report(case, folder)) from error
    print(f"{len(refused)} of {len(seeds)} graphs refused", *refused, sep="\n")
    assert len(refused) <= max(2, MAX_REFUSED * len(seeds)), refused


@pytest.mark.parametrize("first", range(0, GRAPHS, BLOCK))
def test_every_row_is_the_uncut_graphs_at_the_exit_where_it_left(first: int, tmp_path: Path) -> None:
    _check_block(range(first, first + BLOCK), tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("first", range(GRAPHS, LONG_GRAPHS, 100))
def test_many_graphs(first: int, tmp_path: Path) -> None:
    _check_block(range(first, first + 100), tmp_path)


def _refusal(case: Case) -> str | None:
    """The message of the refusal; None where the case compiles."""
    try:
        compile_case(case, kept_exits(case))
    except UnsupportedModelError as error:
        return str(error)
    return None


def _check_refused(name: str, seeds: Sequence[int]) -> None:
    for seed in seeds:
        message = _refusal(random_graph(seed, mixer=MIXERS[name]))
        assert message is not None, f"random_graph({seed}, mixer=MIXERS[{name!r}]) was compiled"
        if "mixer." not in message:
            assert _refusal(random_graph(seed)) is not None, f"seed {seed}: {message!r} does not name the node"


@pytest.mark.parametrize("name", MIXERS)
def test_an_operator_that_mixes_rows_is_refused_by_name(name: str) -> None:
    _check_refused(name, range(4))


@pytest.mark.long
@pytest.mark.parametrize("name", MIXERS)
def test_an_operator_that_mixes_rows_is_refused_in_many_graphs(name: str) -> None:
    _check_refused(name, range(4, 60))


def test_a_failing_graph_is_shrunk_and_saved(tmp_path: Path) -> None:
    def no_gather(case: Case) -> None:
        assert all(node.op_type != "Gather" for node in case.model.graph.node)

    case = next(case for case in map(random_graph, range(100)) if failure(case, no_gather) is not None)
    text = report(case, tmp_path, no_gather)
    assert "Gather" in text
    assert "skip=[" in text
    assert (tmp_path / f"graph_{case.seed}.onnx").is_file()
