from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import support
from click.testing import CliRunner
from support.two_blocks import make_engine_dir, make_inputs

import etbac
from etbac.cli.main import cli
from etbac.engine_dir import EngineDir, Writer
from etbac.errors import InputError, UsageError
from etbac.report import report
from etbac.report.page import page as make
from etbac.report.plots import draw

SECTIONS = ("latency", "prediction", "matrix", "front", "cut", "exits", "harm", "samples", "certificate", "machine")
VOID = {"meta", "img"}


class Reader(HTMLParser):
    """Checks that elements nest, and keeps ids, addresses and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.addresses += [given[name] for name in ("src", "href", "xlink:href", "action") if name in given]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_data(self, data):
        self.text += data


def read(engines: Path, **options) -> Reader:
    path, _ = report(engines, batches=6, **options)
    return Reader(path.read_text("utf-8"))


@pytest.fixture(scope="session")
def page(complete: Path) -> Reader:
    return read(complete, data=complete.parent / "data.npz")


def test_a_complete_directory_has_every_section_once_and_nothing_is_missing(page):
    assert [name for name in page.ids if name in SECTIONS] == list(SECTIONS)
    assert len(page.ids) == len(set(page.ids))
    assert "etbac plan" not in page.text
    assert "etbac profile" not in page.text.replace("run etbac profile again", "")
    for words in ("≥ 0.95", "certified at 95% confidence", "betting test", "exit 1", "the end", "3,000 samples"):
        assert words in page.text


def test_it_needs_neither_network_nor_script(page):
    assert page.addresses
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in page.addresses)
    assert page.tags.isdisjoint({"script", "link", "iframe", "object"})
    own = {f"#{name}" for name in page.ids}
    assert {address for address in page.addresses if address.startswith("#")} <= own


def test_the_figures_are_those_of_the_chain(complete):
    _, figures = report(complete, data=complete.parent / "data.npz", batches=6)
    tested = figures.tested
    with np.load(complete.parent / "data.npz") as arrays:
        assert tested.statistics.n == len(arrays["labels"])
        right = tested.statistics.full_scores
        assert right.mean() == pytest.approx(0.9, abs=0.01)
    assert np.bincount(tested.leaves, minlength=2).sum() == tested.statistics.n
    assert {len(seconds) for seconds in figures.timings.seconds.values()} == {6}


def test_what_is_missing_is_said_in_its_place(compiled):
    page = read(compiled)
    assert set(SECTIONS) - set(page.ids) == {"front"}
    for words in (
        "There is no plan, so every sample takes the whole chain: run etbac plan --precision 0.9968.",
        "There is no profile of these engines on this machine: run etbac profile.",
        "was not compiled from a checkpoint that records its data",
        "uncertified",
        "Nothing is certified of this chain as it runs here: there is no plan.",
    ):
        assert words in page.text


def test_without_labels_the_answers_are_compared_with_the_full_models(compiled, tmp_path):
    np.savez(tmp_path / "bare.npz", image=np.zeros((9, 1, 4, 4), np.float32))
    page = read(compiled, data=tmp_path / "bare.npz")
    assert "agreement alone" in page.text
    assert "The samples have no classes." in page.text


@pytest.mark.parametrize("name", ["<script>alert(1)<script>", "a'b\"c&d", "$x$ <img src=x onerror=alert(1)>"])
def test_names_are_text_whatever_they_hold(compiled, tmp_path, name):
    engines = Path(shutil.copytree(compiled, tmp_path / name))
    page = read(engines)
    assert "script" not in page.tags
    assert name in page.text


def test_the_names_of_classes_are_text_too(complete, tmp_path):
    _, figures = report(complete, data=complete.parent / "data.npz", batches=2)
    names = ("<script>x</script>", '" onload="x', "$\\frac{")
    hostile = replace(figures.tested, samples=replace(figures.tested.samples, class_names=names))
    changed = replace(figures, tested=hostile)
    found = Reader(make(changed, draw(changed)))
    assert "script" not in found.tags
    assert "<script>x</script>" in found.text


def test_the_page_stays_when_the_directory_is_written_to(complete):
    path, _ = report(complete, batches=2)
    before = EngineDir.open(complete).manifest
    with Writer(complete):
        pass
    assert path.name == "report.html"
    assert path.exists()
    assert EngineDir.open(complete).manifest == before
    assert not list(complete.glob("*.etbac-tmp"))


def test_another_place_and_plots_as_files(complete, tmp_path):
    options = ["--out", tmp_path / "page.html", "--plots", tmp_path / "plots", "--batches", 2, "--json"]
    data = ["--data", complete.parent / "data.npz"]
    done = CliRunner().invoke(cli, ["report", "--engine-dir", str(complete), *map(str, [*data, *options])])
    assert done.exit_code == 0, done.output
    assert '"certified": true' in done.stdout
    assert (tmp_path / "page.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {f"{name}.{kind}" for name in ("matrix", "front", "latency", "harm") for kind in ("svg", "png")}


def test_what_was_asked_for_and_cannot_be_is_refused(compiled, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        report(compiled, data=tmp_path / "nowhere.npz")
    with pytest.raises(UsageError, match="at least one batch"):
        report(compiled, batches=0)
    with pytest.raises(UsageError, match=r"ends in \.html"):
        report(compiled, out=compiled / "manifest.json")


def test_without_matplotlib_it_is_said_before_anything_is_measured(compiled):
    paths = (Path(support.__path__[0]) / "hidden_packages", Path(etbac.__path__[0]).parent)
    hidden = {"PYTHONPATH": os.pathsep.join(map(str, paths)), "HIDDEN_PACKAGES": "matplotlib=matplotlib"}
    command = [sys.executable, "-m", "etbac", "report", "--engine-dir", str(compiled)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **hidden}, timeout=120)
    assert done.returncode == 1
    assert done.stderr == "etbac: etbac report draws with Matplotlib: pip install 'etbac[report]'\n"


@pytest.mark.parametrize("rows", [1, 50])
def test_a_chain_without_exits_or_without_a_right_answer_has_a_page_too(tmp_path, rows):
    engines = make_engine_dir(tmp_path / "engines", exits=()).path
    np.savez(tmp_path / "data.npz", **make_inputs(rows), labels=np.full(rows, 9))
    page = read(engines, data=tmp_path / "data.npz")
    assert "The model's input is no picture of 1 or 3 channels" in page.text
    assert "of 0 right answers of the full model" in page.text.lower()
