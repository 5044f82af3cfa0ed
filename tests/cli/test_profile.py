import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.any_length import any_length_file
from support.two_blocks import make_engine_dir

import etbac
from etbac.cli.main import cli
from etbac.engine_dir import EngineDir


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    return make_engine_dir(tmp_path / "engines").path


def run(*arguments: object):
    return CliRunner().invoke(cli, ["profile", *map(str, arguments)])


def test_the_tables_name_every_engine_and_the_sums(engines):
    done = run("--engine-dir", engines, "--budget", 0.1)
    assert done.exit_code == 0
    for text in ("segment-00", "segment-02", "full", "batch 8", "chain ÷ Σ", "evenly"):
        assert text in done.stdout
    assert len(list((engines / "profiles").iterdir())) == 2


def test_json_is_one_object_on_stdout(engines):
    done = run("--engine-dir", engines, "--budget", 0.1, "--batch-sizes", "1:7:3", "--json")
    measured = json.loads(done.stdout)
    assert measured["batch_sizes"] == [1, 4, 7]
    assert [row["engine"] for row in measured["engines"]] == ["segment-00", "segment-01", "segment-02", "full"]
    assert len(measured["segments"]) == 3


@pytest.mark.parametrize("sizes", ["one", "1:2", "4:1:1", "0,1", "1:9:0", "2,-1"])
def test_sizes_that_are_none_are_wrong_usage(engines, sizes):
    done = run("--engine-dir", engines, "--batch-sizes", sizes)
    assert done.exit_code == 2
    assert "batch" in done.stderr


def test_a_size_above_the_chains_largest_says_how_to_get_it(engines):
    done = run("--engine-dir", engines, "--max-batch", 64)
    assert done.exit_code == 2
    assert "compile it again with --max-batch 64" in done.stderr


def test_a_missing_directory_is_one_sentence(tmp_path):
    done = run("--engine-dir", tmp_path / "nowhere")
    assert done.exit_code == 1
    assert done.stderr.startswith("etbac: ")
    assert done.stderr.count("\n") == 1


def test_sizes_may_be_chosen_where_the_latency_bends(engines):
    measured = json.loads(run("--engine-dir", engines, "--budget", 0.1, "--batch-sizes", "adaptive", "--json").stdout)
    assert {1, 2, 4, 8} <= set(measured["batch_sizes"])


@pytest.mark.parametrize(
    ("name", "text"),
    [("p.toml", "batch-sizes = [1, 4]\nbudget = 0.1\n"), ("p.json", '{"batch_sizes": "1,4", "budget": 0.1}')],
)
def test_options_come_from_a_file_and_the_command_line_goes_first(engines, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    options = ("--engine-dir", engines, "--config", tmp_path / name, "--json")
    assert json.loads(run(*options).stdout)["batch_sizes"] == [1, 4]
    assert json.loads(run(*options, "--batch-sizes", "2").stdout)["batch_sizes"] == [2]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.toml", "batch-size = 3", "there is no option 'batch_size'; there are"),
        ("p.json", '{"interval": 4}', "interval needs batch_size_max"),
        ("p.json", '{"batch_size_max": 8, "max-batch": 4}', "so do batch-sizes and max-batch"),
        ("p.json", '{"device": "tpu"}', "device 'tpu': write cpu or cuda"),
        ("p.toml", "= 3", "cannot be read"),
        ("p.json", "[1]", "holds no table of options"),
        ("p.json", "{", "cannot be read"),
    ],
)
def test_a_file_of_options_that_is_none_is_wrong_usage(engines, tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    done = run("--engine-dir", engines, "--config", tmp_path / name)
    assert done.exit_code == 2
    assert message in done.stderr


@pytest.mark.parametrize(
    ("text", "sizes"), [('"batch_size_max": 8, "interval": 3', [1, 4, 7]), ('"batch_size_max": 4', [1, 2, 4])]
)
def test_the_names_of_etbas_file_are_understood(engines, tmp_path, monkeypatch, text, sizes):
    monkeypatch.setenv("ETBAC_DEVICE", "")
    monkeypatch.delenv("ETBAC_DEVICE")
    (tmp_path / "p.json").write_text(f'{{{text}, "device": "cpu", "budget": 0.1}}')
    measured = json.loads(run("--engine-dir", engines, "--config", tmp_path / "p.json", "--json").stdout)
    assert measured["batch_sizes"] == sizes
    assert os.environ["ETBAC_DEVICE"] == measured["device"] == "cpu"


def test_the_options_that_a_file_may_have_are_listed(engines, tmp_path):
    (tmp_path / "p.json").write_text('{"debug": true}')
    done = run("--engine-dir", engines, "--config", tmp_path / "p.json")
    assert done.exit_code == 2
    listed = " ".join(done.stderr.replace("│", " ").split()).partition("there are ")[2]
    assert "batch-size-max" in listed
    assert not {"debug", "as-json", "config"} & set(listed.replace(",", " ").split())


def test_lengths_have_a_column_where_one_is_dynamic(engines, tmp_path):
    sequences = etbac.compile(any_length_file(tmp_path / "model.onnx"), tmp_path / "sequences", max_batch=2).path
    (tmp_path / "p.json").write_text('{"lengths": [4, 16], "budget": 0.1}')
    done = run("--engine-dir", sequences, "--config", tmp_path / "p.json")
    assert done.exit_code == 0, done.stderr
    rows = [line.replace("│", " ").split()[:4] for line in done.stdout.splitlines() if "segment-00" in line]
    assert [row[:3] for row in rows] == [["segment-00", "1", "4"], ["segment-00", "1", "16"]]
    measured = json.loads(run("--engine-dir", sequences, "--budget", 0.1, "--lengths", "8:16:8", "--json").stdout)
    assert measured["lengths"] == [8, 16]
    assert [each["length"] for each in measured["chain"]] == 2 * [8, 8, 16, 16]
    assert "length" not in run("--engine-dir", engines, "--budget", 0.1).stdout


@pytest.mark.parametrize("lengths", ["0,8", "adaptive", ""])
def test_lengths_that_are_none_are_wrong_usage(engines, lengths):
    done = run("--engine-dir", engines, "--lengths", lengths)
    assert done.exit_code == 2
    assert "--lengths" in done.stderr


def test_a_length_for_inputs_of_fixed_shape_is_wrong_usage(engines):
    done = run("--engine-dir", engines, "--lengths", "16")
    assert done.exit_code == 2
    assert "Leave --lengths out" in done.stderr


def test_a_named_model_is_measured_with_random_weights(tmp_path):
    done = run("resnet8", "--exits", "all", "--engine-dir", tmp_path / "engines", "--batch-sizes", 1, "--budget", 0.1)
    assert done.exit_code == 0, done.stderr
    assert "resnet8 with random weights and 2 exits" in done.stderr
    assert "latency alone means something" in done.stderr


def test_a_named_model_is_compiled_for_the_sizes_asked_for_and_may_replace_its_like(tmp_path):
    options = ("resnet8", "--exits", "3", "--engine-dir", tmp_path / "engines", "--budget", 0.1)
    for sizes in ("1", "1,40"):
        done = run(*options, "--batch-sizes", sizes)
        assert done.exit_code == 0, done.stderr
    assert EngineDir.open(tmp_path / "engines").manifest.max_batch == 40


def test_a_named_model_does_not_replace_a_chain_of_another_origin(engines):
    before = (engines / "manifest.json").read_bytes()
    done = run("resnet8", "--engine-dir", engines)
    assert done.exit_code == 2
    assert "name another --engine-dir" in done.stderr
    assert (engines / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(("sizes", "said"), [("4,8", True), ("1,8", False)])
def test_stages_smaller_than_what_was_measured_are_said(engines, sizes, said):
    done = run("--engine-dir", engines, "--budget", 0.1, "--batch-sizes", sizes)
    assert ("for stages with fewer rows" in done.stdout) is said
