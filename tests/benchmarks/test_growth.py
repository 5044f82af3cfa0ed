from __future__ import annotations

import pytest

from benchmarks.growth.__main__ import picture, steepening

SIZES = (1, 2, 4, 8, 16, 33)


@pytest.mark.parametrize(("power", "least", "most"), [(1, 0.99, 1.01), (2, 2.0, 4.0), (0.5, 0.1, 0.9)])
def test_a_line_is_told_from_a_parabola_whatever_it_begins_with(power: float, least: float, most: float) -> None:
    points = [{"x": x, "ms": 5 + 0.1 * x**power} for x in SIZES]
    assert least <= steepening(points, "ms") <= most


def test_every_figure_has_its_panel() -> None:
    drawn = picture({"exits": [{"x": 1, "ms": 1.0, "mb": 2.0}, {"x": 2, "ms": 2.0, "mb": 3.0}]})
    assert [axes.get_title() for axes in drawn.axes] == ["ms", "mb"]
