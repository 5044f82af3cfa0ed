from __future__ import annotations

import tempfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support.any_length import any_length_file, make_sequences
from support.even_profile import write_even_profile
from support.optimized import labelled, misleading, never_right, take_even_profiles
from support.two_blocks import exit_model_file

import etbac
from etbac.cli.main import cli
from etbac.compiler import optimize
from etbac.engine_dir import EngineDir
from etbac.errors import EngineDirError, EtbacError
from etbac.profiles import profiler, stored

EXITS = (3, 7)


@pytest.fixture(autouse=True)
def short(monkeypatch, tmp_path: Path) -> None:
    take_even_profiles(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return exit_model_file(tmp_path / "model.onnx")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return labelled(tmp_path / "data.npz")


def made(model: Path, data: Path, precision: float = 0.5, **options):
    return optimize(model, model.parent / "engines", precision, data=data, budget_s=0.05, batches=30, **options)


def test_the_chain_that_stays_has_the_exits_of_its_plan_and_one_reading(model, data):
    done = made(model, data)
    directory = EngineDir.open(model.parent / "engines")
    assert done.tried == EXITS
    assert done.plan.thresholds
    assert tuple(done.plan.thresholds) == directory.manifest.exits
    assert done.plan.certified
    assert list(directory.readings().values()) == [1]
    with etbac.load(directory.path) as chain:
        assert chain.plan == done.plan
        assert done.plan.certificate is not None
        assert done.plan.certificate["segments"] == list(chain.sources)
    assert done.figures["batches"] == 30
    assert done.figures["p99_ratio"] is None


def interrupted(name: str, whole: int):
    """A progress bar at which the user stops the command once the certify set is being read."""

    def told(done: int) -> None:
        if name == "certify set":
            raise KeyboardInterrupt

    return told


FAILURES = {
    "too little data": (EtbacError, lambda data: {"data": data, "precision": 0.99999}, 0),
    "not certified": (EtbacError, lambda data: {"data": misleading(data.with_name("other.npz")), "precision": 0.9}, 1),
    "interrupted": (
        KeyboardInterrupt,
        lambda data: {"data": misleading(data.with_name("other.npz")), "precision": 0.9, "bar": interrupted},
        1,
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_without_a_certificate_what_was_there_stays_and_a_reading_counts(model, data, failure):
    error, options, readings = FAILURES[failure]
    before = made(model, data)
    directory = EngineDir.open(model.parent / "engines")
    with pytest.raises(error):
        made(model, **options(data))
    after = EngineDir.open(directory.path)
    after.check_all(after.manifest.files)
    assert after.manifest == directory.manifest
    assert after.plan == before.plan
    assert sum(after.readings().values()) == 1 + readings


@pytest.mark.parametrize("failure", FAILURES)
def test_without_a_certificate_only_a_reading_is_left_where_nothing_was(model, data, failure, monkeypatch, tmp_path):
    error, options, readings = FAILURES[failure]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with pytest.raises(error):
        made(model, **options(data))
    engines = model.parent / "engines"
    found = {path.name for path in engines.iterdir()} if engines.exists() else set()
    assert found == ({".lock", "readings.json"} if readings else set())
    assert list(scratch.iterdir()) == []


def test_an_uncertified_plan_is_put_in_force_where_it_is_asked_for(model, data):
    done = made(model, misleading(data.with_name("other.npz")), precision=0.9, uncertified=True)
    in_force = EngineDir.open(model.parent / "engines").plan
    assert in_force == done.plan
    assert not in_force.certified
    assert "is not certified at 95% confidence" in in_force.reason


def test_where_no_exit_pays_the_full_model_is_the_chain(model, data):
    engines = model.parent / "engines"
    command = ["optimize", str(model), "--engine-dir", str(engines), "--data", str(never_right(data)), "--uncertified"]
    done = CliRunner().invoke(cli, [*command, "--precision", "0.9999", "--budget", "0.05", "--batches", "30"])
    assert done.exit_code == 0, done.output
    assert "no exit pays, of 3, 7 tried: the chain is the full model alone" in done.output
    with etbac.load(engines) as chain:
        samples = chain.engine_dir.read_samples()
        answers = chain.run(samples)
        assert (chain.ids, len(chain.stages)) == ((0,), 1)
        assert not answers.exit_id.any()
        np.testing.assert_allclose(answers.prediction, chain.full(samples), rtol=1e-5)
    shown = CliRunner().invoke(cli, ["inspect", str(engines)])
    assert shown.exit_code == 0, shown.output
    page = CliRunner().invoke(cli, ["report", "--engine-dir", str(engines), "--out", str(model.parent / "page.html")])
    assert page.exit_code == 0, page.output


def test_what_else_is_in_the_directory_stays_where_it_is(model, data):
    engines = model.parent / "engines"
    engines.mkdir()
    (engines / "mine").symlink_to("nowhere")
    made(model, data)
    assert (engines / "mine").is_symlink()
    assert EngineDir.open(engines).plan.certified


def test_a_damaged_directory_is_built_anew(model, data):
    made(model, data)
    directory = EngineDir.open(model.parent / "engines")
    for name in (directory.manifest.full, directory.manifest.segments[0].file):
        (directory.path / name).write_bytes(b"damaged")
        assert made(model, data).plan.certified
        directory.check(name)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("manifest.json", b'{"of": "something else"}', "was not written by etbac"),
        ("readings.json", b'{"readings": {}}', "readings.json"),
    ],
)
def test_where_the_chain_could_not_be_put_nothing_is_begun(model, data, name, content, sentence):
    engines, notes = model.parent / "engines", []
    engines.mkdir()
    (engines / name).write_bytes(content)
    with pytest.raises(EngineDirError, match=sentence):
        made(model, data, note=notes.append)
    assert notes == []
    assert (engines / name).read_bytes() == content


def test_a_file_in_the_chains_place_is_refused_before_work_is_done(model, data):
    notes = []
    (model.parent / "engines").write_text("a file")
    with pytest.raises(EngineDirError, match="is a file"):
        made(model, data, note=notes.append)
    assert notes == []


def test_another_seed_is_another_reading_of_the_same_samples(model, data):
    made(model, data)
    engines = model.parent / "engines"
    for seed, reading in ((0, 2), (1, 3)):
        assert etbac.plan(engines, 0.5, data=data, seed=seed).certificate["reading"] == reading
    assert list(EngineDir.open(engines).readings().values()) == [3]


def compiled(engines: Path, *arguments: str) -> str:
    """What `etbac compile` prints, into `engines`."""
    done = CliRunner().invoke(cli, ["compile", *arguments, "--engine-dir", str(engines)])
    assert done.exit_code == 0, done.output
    return done.output


def test_compile_plan_keeps_the_exits_that_the_plan_uses(model, data):
    engines = model.parent / "engines"
    compiled(engines, str(model))
    write_even_profile(engines, last_ms=(20.0, 160.0))
    before = etbac.plan(engines, 0.5, 0.01, data=data, test="exact")
    assert before.thresholds.keys() < set(EXITS)
    compiled(engines, str(model), "--plan", "--data", str(data))
    directory = EngineDir.open(engines)
    assert directory.manifest.exits == tuple(before.thresholds)
    assert directory.plan.thresholds == before.thresholds
    certificate = directory.plan.certificate
    assert (certificate["test"], certificate["reading"], certificate["level"]) == ("exact", 2, 0.005)


def test_compile_plan_says_what_it_needs(model, data):
    engines = model.parent / "engines"
    command = ["compile", str(model), "--engine-dir", str(engines), "--plan"]
    compiled(engines, str(model))
    assert "has no plan; make one with etbac plan" in CliRunner().invoke(cli, command).output
    assert "leave --exits and --no-plan out" in CliRunner().invoke(cli, [*command, "--no-plan"]).output
    write_even_profile(engines)
    assert etbac.plan(engines, 0.9999, data=never_right(data.with_name("other.npz")), uncertified=True).thresholds == {}
    assert "lets nobody leave early" in CliRunner().invoke(cli, command).output


def test_no_exit_is_left_out_where_gates_read_the_exits_before(model, data):
    engines, gate = model.parent / "engines", ["--gate", "patience:k=1"]
    command = ["optimize", str(model), *gate, "--engine-dir", str(engines), "--data", str(data), "--precision", "0.5"]
    done = CliRunner().invoke(cli, [*command, "--budget", "0.05", "--batches", "30", "--json"])
    assert done.exit_code == 0, done.output
    made = EngineDir.open(engines)
    assert (made.manifest.exits, made.plan.exits) == (EXITS, EXITS)
    assert made.plan.thresholds.keys() < set(EXITS)
    compiled(engines, str(model), *gate, "--plan", "--data", str(data))
    again = EngineDir.open(engines)
    assert (again.manifest.exits, again.plan.thresholds) == (EXITS, made.plan.thresholds)
    assert again.plan.certified


def test_latency_is_measured_at_the_length_of_the_data(tmp_path, monkeypatch):
    monkeypatch.setattr(import_module("etbac.compiler.optimize"), "profile", profiler.profile)
    np.savez(tmp_path / "data.npz", **make_sequences(200, 20))
    model = any_length_file(tmp_path / "model.onnx")
    done = made(model, tmp_path / "data.npz", metric="agreement", uncertified=True)
    with etbac.load(tmp_path / "engines") as chain:
        kept = stored.read(chain)
    assert kept is not None
    assert kept.lengths == (20,)
    assert done.plan.predicted.keys() == set(kept.batch_sizes)
