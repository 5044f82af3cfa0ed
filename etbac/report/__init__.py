"""The report: one HTML page about an engine directory, for people."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from etbac.engine_dir import write_report
from etbac.engine_dir.storage import write_whole
from etbac.errors import UsageError
from etbac.report.collect import BATCHES, Bar, Figures, collect
from etbac.report.page import page
from etbac.report.plots import check_installed, draw, save
from etbac.runtime.chain import load

__all__ = ["BATCHES", "Figures", "report"]


def report(
    engine_dir: Path | str = "engines",
    *,
    data: Path | None = None,
    out: Path | None = None,
    batches: int = BATCHES,
    plots: Path | None = None,
    backend: str | None = None,
    dtype: str | None = None,
    trust: bool = False,
    note: Callable[[str], None] = lambda sentence: None,
    bar: Bar = lambda name, whole: lambda done: None,
) -> tuple[Path, Figures]:
    """Measure chain and full model on `batches` batches, and write a page about all that is known of the chain.

    `data`: an .npz file of inputs by name and `labels`, or the folder of the checkpoint's data, whose test set is
    taken; by default where the checkpoint recorded it. What is missing is said in its place. `out`: by default
    report.html in the directory. `plots`: a folder for the plots as SVG and PNG. `backend`, `dtype`, `trust`: see
    `load`. Returns where the page is, and its figures.
    """
    if batches < 1:
        raise UsageError(f"--batches {batches}: at least one batch must be measured")
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {out}: the report is a page; give it a name that ends in .html")
    check_installed()
    with load(engine_dir, backend, dtype, trust) as chain:
        if chain.note:
            note(chain.note)
        figures = collect(chain, data, batches, bar)
        drawn = draw(figures)
        text = page(figures, drawn).encode()
        if plots is not None:
            for name, figure in drawn.items():
                save(figure, plots, name)
        if out is None:
            return write_report(chain.engine_dir, text), figures
        write_whole(out, text)
        return out, figures
