"""Plans by metrics whose scores are fractions, and by those that are no mean of scores, from engines to the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support.pixels import pixel_data, pixel_engines

import etbac
from etbac.cli.main import cli
from etbac.engine_dir import EngineDir
from etbac.errors import EtbacError, UsageError
from etbac.metrics import metric
from etbac.planner.plan import plan
from etbac.planner.samples import read_npz, split
from etbac.report import report

PRECISION = 0.98


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("pixels")
    pixel_engines(made)
    pixel_data(made / "data.npz")
    return made


@pytest.fixture
def engines(folder, tmp_path) -> Path:
    import shutil

    return Path(shutil.copytree(folder / "engines", tmp_path / "engines"))


def of_certify_half(engines: Path, data: Path, name: str) -> tuple[float, float]:
    """The metric of the chain with its plan, and of the full model, on the certify half."""
    found = metric(name)
    with etbac.load(engines) as chain:
        _, half = split(read_npz(data, chain.manifest.inputs), seed=0)
        answers = (chain.run(half.inputs).prediction, chain.full(half.inputs))
        return tuple(found.of(found.rows(each, half.labels)) for each in answers)


def test_pixel_accuracy_is_certified_with_the_figures_of_the_chain(engines, folder):
    made = plan(engines, PRECISION, data=folder / "data.npz", metric="pixel-accuracy")
    assert made.certified
    assert made.thresholds
    assert made.search["shares"]["1"] > 0.2
    chain, full = of_certify_half(engines, folder / "data.npz", "pixel-accuracy")
    certificate = made.certificate
    assert certificate["n"] == pytest.approx(full * certificate["samples"])
    assert certificate["repairs"] - certificate["harms"] == pytest.approx((chain - full) * certificate["samples"])
    assert certificate["others"] == []
    assert PRECISION <= certificate["best_precision"] <= chain / full


def test_miou_is_shown_by_a_bootstrap_and_marked(engines, folder):
    made = plan(engines, PRECISION, data=folder / "data.npz", metric="miou")
    assert (made.certified, made.certificate) == (False, None)
    assert made.reason.startswith("asymptotic, not certified: on 1,500 samples the chain's miou is ")
    assert EngineDir.open(engines).plan == made
    chain, full = of_certify_half(engines, folder / "data.npz", "miou")
    assert made.estimate["ratio"] == pytest.approx(chain / full)
    assert PRECISION <= made.estimate["best_precision"] < chain / full
    assert made.search["shares"]["1"] > 0.2
    assert made.search["precision"] == pytest.approx(chain / full, abs=0.01)
    assert made.search["full"] == pytest.approx(full, abs=0.02)
    assert made.search["exits"]["0"] == made.search["full"]
    assert EngineDir.open(engines).readings() == {made_from(folder): 1}


def made_from(folder: Path) -> str:
    return read_npz(folder / "data.npz", EngineDir.open(folder / "engines").manifest.inputs).sha256


def test_where_the_bound_is_below_the_precision_nothing_is_put_in_force(engines, folder, tmp_path):
    with np.load(folder / "data.npz") as arrays:
        np.savez(tmp_path / "few.npz", **{name: array[:60] for name, array in arrays.items()})
    few = {"data": tmp_path / "few.npz", "metric": "miou"}
    sentence = "unlikely to show precision 0.99999 at 95% confidence|precision 0.99999 is not shown"
    with pytest.raises(EtbacError, match=sentence):
        plan(engines, 0.99999, thresholds={1: 0.0}, **few)
    assert EngineDir.open(engines).plan is None
    made = plan(engines, 0.99999, thresholds={1: 0.0}, uncertified=True, **few)
    assert made.estimate is None
    assert "is not shown of the most cautious plan (asymptotic, not certified: on 30 samples" in made.reason


def test_the_exact_test_is_of_right_and_wrong_alone(engines, folder, tmp_path):
    asked = {"data": folder / "data.npz", "test": "exact"}
    with pytest.raises(UsageError, match=r"pixel-accuracy scores each from 0 to 1; ask for --test betting"):
        plan(engines, PRECISION, metric="pixel-accuracy", **asked)
    with pytest.raises(UsageError, match=r"miou is no mean of these; leave --test out"):
        plan(engines, PRECISION, metric="miou", **asked)
    with np.load(folder / "data.npz") as arrays:
        np.savez(tmp_path / "units.npz", **arrays, units=np.arange(3_000) // 3)
    with pytest.raises(UsageError, match=r"several samples are of one unit; ask for --test betting"):
        plan(engines, PRECISION, data=tmp_path / "units.npz", metric="agreement", test="exact")


def test_what_is_certified_of_units_is_their_mean(engines, folder, tmp_path):
    with np.load(folder / "data.npz") as arrays:
        np.savez(tmp_path / "units.npz", **arrays, units=np.arange(3_000) // 3)
    with pytest.raises(EtbacError, match=r"500 units, on which the full model scores about \d+, cannot certify"):
        plan(engines, 0.9968, data=tmp_path / "units.npz", metric="pixel-accuracy")
    alone = plan(engines, PRECISION, data=folder / "data.npz", metric="pixel-accuracy")
    by_unit = plan(engines, 0.9, data=tmp_path / "units.npz", metric="pixel-accuracy")
    assert (by_unit.certificate["samples"], by_unit.certificate["units"]) == (1_500, 500)
    assert by_unit.certificate["n"] == pytest.approx(alone.certificate["n"] / 3, rel=0.05)
    shown = plan(engines, 0.9, data=tmp_path / "units.npz", metric="miou")
    assert "on 1,500 samples of 500 units" in shown.reason


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pixel-accuracy", "certified: precision ≥ 0.98 at 95% confidence (betting test: of 1,500 samples, on which"),
        ("miou", "asymptotic, not certified: on 1,500 samples the chain's miou is"),
    ],
)
def test_the_commands_and_the_page_say_so(engines, folder, name, said):
    data = str(folder / "data.npz")
    run = CliRunner().invoke
    fixed = ["--engine-dir", str(engines), "--data", data]
    done = run(cli, ["plan", *fixed, "--precision", str(PRECISION), "--metric", name])
    assert done.exit_code == 0, done.output
    assert said in " ".join(done.stdout.split())
    assert f"{name} alone" in done.stdout
    looked = " ".join(run(cli, ["inspect", str(engines)]).stdout.split())
    assert ("precision 0.98, certified" if name != "miou" else "precision 0.98, asymptotic, not certified") in looked
    ran = run(cli, ["run", "--engine-dir", str(engines), "--json"])
    assert ran.exit_code == 0, ran.output

    path, figures = report(engines, data=folder / "data.npz", batches=4)
    page = path.read_text("utf-8")
    assert f"{name} alone" in page
    pairs = figures.tested.statistics.at(figures.tested.leaves)
    assert f"the chain: {pairs.chain_metric:.4f}; the full model: {pairs.full_metric:.4f}" in page
    assert "Of the full model's scores" in page or "Of the full model&#x27;s scores" in page
    assert "The samples have no classes." in page
    assert ("paired bootstrap draws from these 95% have at least" in page) == (name == "miou")


def test_json_has_the_estimate(engines, folder):
    asked = ["plan", "--engine-dir", str(engines), "--data", str(folder / "data.npz"), "--metric", "miou", "--json"]
    made = json.loads(CliRunner().invoke(cli, [*asked, "--precision", str(PRECISION)]).stdout)
    assert made["certified"] is False
    assert made["estimate"]["test"] == "bootstrap"
    assert made["estimate"]["resamples"] == 2_000
