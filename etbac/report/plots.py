"""The report's plots, small enough for a phone: as SVG that follows the page's theme, and as files."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from etbac.contract import FULL_MODEL_ID
from etbac.errors import MissingPackageError
from etbac.planner.race import CHAIN, FULL
from etbac.profiles.profile import Profile
from etbac.report.collect import NAMES, Figures
from etbac.report.front import CHOSEN, FAILED, PASSED, SEARCHED, front
from etbac.report.harm import by_class
from etbac.report.html import ms

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "ink": "#1f2329",
    "muted": "#5c6670",
    "line": "#d5dbe1",
    "chain": "#0b6e99",
    "full": "#b05a00",
    "bad": "#b3261e",
}
"""Those of the light theme; in a page each becomes the CSS variable of its name."""
MOST_CLASSES = 20
MOST_STAGES = 40
DPI = 160
_WIDTH = 358 / 72
"""Inches; a pixel of a phone's page is then a point of a plot."""
_STYLE: Any = {
    "font.size": 15,
    "svg.fonttype": "none",
    "svg.hashsalt": "etbac",
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": COLOURS["line"],
    "axes.edgecolor": COLOURS["muted"],
    "axes.labelcolor": COLOURS["ink"],
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "legend.frameon": False,
}


def check_installed() -> None:
    """A MissingPackageError where there is nothing to draw with; said before anything is measured."""
    if find_spec("matplotlib") is None:
        raise MissingPackageError("etbac report draws with Matplotlib: pip install 'etbac[report]'")


def draw(figures: Figures) -> dict[str, Figure]:
    """Every plot that there are figures for, by name."""
    import matplotlib as mpl

    drawn: dict[str, Figure] = {}
    with mpl.rc_context(_STYLE):
        for name, plot in _PLOTS.items():
            figure = plot(figures)
            if figure is not None:
                drawn[name] = figure
    return drawn


def inline(figure: Figure, name: str, title: str) -> str:
    """An <svg> element for a page that defines the colours as variables; its ids are unique by `name`."""
    body = re.sub(r"<metadata>.*?</metadata>", "", _svg(figure).partition("<svg")[2], flags=re.DOTALL)
    start, end = body.split(">", 1)
    width = 72 * figure.get_figwidth()
    size = f"min-width:{0.99 * width:.0f}px;max-width:{1.3 * width:.0f}px"
    start = re.sub(r'\s(?:xmlns(?::\w+)?|version|width|height)="[^"]*"', "", start)
    svg = f'<svg role="img" aria-label="{title}" style="{size}"{start}>{end}'
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    for variable, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg


def save(figure: Figure, folder: Path, name: str) -> None:
    """`<name>.svg`, transparent, and `<name>.png`, on white."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.svg").write_text(_svg(figure), encoding="utf-8")
    figure.savefig(folder / f"{name}.png", dpi=DPI, facecolor="white")


def _svg(figure: Figure) -> str:
    import matplotlib as mpl

    text = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return text.getvalue()


def _axes(height: float, width: float = _WIDTH) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _matrix(figures: Figures) -> Figure | None:
    """A cell's colour is the stronger the more a sample costs there: that is what batches and depth change."""
    if not isinstance(figures.profile, Profile):
        return None
    matrix = figures.profile.matrix
    values = np.vstack([matrix.stage_ms, matrix.full_ms])[-MOST_STAGES:]
    names = [*(_stage(exit_id) for exit_id in matrix.stages), NAMES[FULL]][-MOST_STAGES:]
    each = np.log(values / np.array(matrix.batch_sizes))
    depth = (each - each.min()) / (np.ptp(each) or 1)
    columns = len(matrix.batch_sizes)
    figure, axes = _axes(0.9 + 0.42 * len(names), max(_WIDTH, 1.5 + 0.68 * columns))
    for row, column in np.ndindex(*values.shape):
        alpha = 0.08 + 0.6 * depth[row, column]
        axes.bar(column, 0.94, 0.94, row - 0.47, color=COLOURS["chain"], alpha=alpha)
        axes.text(column, row, ms(values[row, column]), ha="center", va="center")
    axes.set_xticks(range(columns), [str(size) for size in matrix.batch_sizes])
    axes.set_yticks(range(len(names)), names)
    length = "" if not figures.profile.lengths else f", at length {figures.profile.lengths[-1]}"
    axes.set(xlabel=f"batch size{length}", xlim=(-0.5, columns - 0.5), ylim=(len(names) - 0.5, -0.5))
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def _front(figures: Figures) -> Figure | None:
    plan = figures.plan
    points = [] if plan is None else front(plan)
    if plan is None or not points:
        return None
    figure, axes = _axes(4.2)
    looks: dict[str, dict[str, Any]] = {
        SEARCHED: {"color": COLOURS["muted"], "marker": ".", "linewidth": 1, "linestyle": "-"},
        PASSED: {"color": COLOURS["chain"], "marker": "o", "linestyle": ""},
        FAILED: {"color": COLOURS["bad"], "marker": "x", "linestyle": ""},
        CHOSEN: {"color": COLOURS["chain"], "marker": "*", "markersize": 15, "linestyle": ""},
    }
    for fate, look in looks.items():
        some = [(point.predicted_ms, point.precision) for point in points if point.fate == fate]
        if some:
            axes.plot(*zip(*some, strict=True), label=fate, **look)
    here = plan.predicted.get(figures.batch)
    if here is not None:
        axes.scatter([here["full_ms"]], [1.0], color=COLOURS["full"], marker="D", label=NAMES[FULL], zorder=3)
    axes.axhline(plan.precision, color=COLOURS["muted"], linestyle="--", linewidth=1, label="asked for")
    axes.set(xlabel=f"predicted ms, batch of {figures.batch}", ylabel="precision")
    highest = max(1.0, *(point.precision for point in points))
    room = highest - plan.precision
    axes.set(xlim=(0, None), ylim=(plan.precision - 2 * room, highest + 0.5 * room))
    axes.ticklabel_format(axis="y", useOffset=False)
    figure.legend(loc="outside upper left", ncols=2, columnspacing=0.8, handletextpad=0.3)
    return figure


def _latency(figures: Figures) -> Figure | None:
    figure, axes = _axes(3.4)
    ends = []
    for name, colour, dash in ((CHAIN, "chain", "-"), (FULL, "full", "--")):
        taken = np.sort(figures.timings.seconds[name]) * 1e3
        shares = np.arange(1, len(taken) + 1) / len(taken)
        axes.step(taken, shares, color=COLOURS[colour], linewidth=2, linestyle=dash, label=NAMES[name])
        ends.append(np.quantile(taken, 0.99))
    axes.set(xlabel="ms", ylabel="batches answered", xlim=(0, 1.08 * max(ends)), ylim=(0, 1.02))
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return figure


def _harm(figures: Figures) -> Figure | None:
    tested = figures.tested
    classes = [] if isinstance(tested, str) else by_class(tested)[:MOST_CLASSES]
    if not classes:
        return None
    from matplotlib.ticker import PercentFormatter

    figure, axes = _axes(1.0 + 0.36 * len(classes))
    rows = np.arange(len(classes))
    low, share, high = (np.array([getattr(each, name) for each in classes]) for name in ("low", "share", "high"))
    axes.hlines(rows, low, high, color=COLOURS["muted"], linewidth=2)
    axes.scatter(share, rows, color=COLOURS["chain"], zorder=3)
    axes.set_yticks(rows, [f"{_plain(each.name)}: {each.harms} of {each.n_right:,}" for each in classes])
    axes.invert_yaxis()
    axes.set(xlabel="share of right answers lost")
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=3)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(axis="y", visible=False)
    return figure


def _stage(exit_id: int) -> str:
    return "to the end" if exit_id == FULL_MODEL_ID else f"to exit {exit_id}"


def _plain(name: str) -> str:
    r"""Dollar signs would set the text between them as a formula."""
    return name[:24].replace("$", r"\$")


_PLOTS: dict[str, Callable[[Figures], Figure | None]] = {
    "matrix": _matrix,
    "front": _front,
    "latency": _latency,
    "harm": _harm,
}
