from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from etbac.cli.main import cli
from etbac.engine_dir import EngineDir

MODEL = """<ir_version: 9, opset_import: ["" : 18]>
two_exits (float[batch, 4] x) => (float[batch, 4] exit_3, float[batch, 4] exit_7, float[batch, 4] prediction)
<float[4, 4] w = {1.0, 0.5, 0.0, -1.0, 0.2, 1.0, -0.3, 0.1, 0.0, 0.4, 1.0, 0.6, -0.5, 0.3, 0.2, 1.0}>
{
    one = MatMul(x, w)
    exit_3 = Relu(one)
    two = MatMul(exit_3, w)
    exit_7 = Tanh(two)
    three = MatMul(two, w)
    prediction = Relu(three)
}"""


class Loud:
    """Reading this pickle would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    onnx.save(onnx.parser.parse_model(MODEL), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def run(*arguments: object):
    return CliRunner().invoke(cli, [*map(str, arguments)])


def write_inputs() -> None:
    """Files of inputs, each with something wrong."""
    good = np.ones((3, 4), np.float32)
    Path("text.npz").write_text("weights\n")
    np.savez("other.npz", other=good)
    np.savez("nan.npz", x=np.where(np.arange(12).reshape(3, 4) == 5, np.float32(np.nan), good))
    np.savez("wide.npz", x=np.ones((3, 5), np.float32))
    np.savez("empty.npz", x=good[:0])
    np.savez("code.npz", x=np.array([Loud(Path("executed"))]))


def sentence(done) -> str:
    """The one line on stderr, which names no Python."""
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.strip().splitlines() if line.startswith(("etbac: ", "Error: "))]
    assert len(lines) == 1
    return lines[0]


def test_the_three_commands_of_daily_use_work_as_they_stand(model):
    compiled = run("compile", "model.onnx", "--exits", "3,7")
    assert compiled.exit_code == 0
    assert "verified: largest difference" in compiled.stdout
    assert run("profile", "--budget", "0.2").exit_code == 0
    assert run("run", "--engine-dir", "engines").exit_code == 0


def test_json_is_one_object(model):
    found = json.loads(run("compile", "model.onnx", "--exits", "7", "--json").stdout)
    assert found["exits"] == [7]
    assert found["largest_difference"] <= 1e-4
    assert found["plan"] is None


def test_explain_names_each_boundary(model):
    done = run("compile", "model.onnx", "--explain")
    assert done.exit_code == 0
    assert "behind exit 3" in done.stdout
    assert "bytes" in done.stdout


def test_dump_passes_writes_a_model_after_every_pass(model):
    assert run("compile", "model.onnx", "--dump-passes", "dump").exit_code == 0
    written = sorted(Path("dump").glob("*.onnx"))
    assert len(written) > 5
    for path in written:
        onnx.load(path)


def test_outputs_of_a_foreign_file_are_named_as_exits(model):
    text = MODEL.replace("exit_3", "early").replace("exit_7", "late")
    onnx.save(onnx.parser.parse_model(text), model)
    done = run("compile", "model.onnx", "--exit", "1=early", "--exit", "2=late")
    assert done.exit_code == 0
    assert EngineDir.open("engines").manifest.exits == (1, 2)


def test_one_exit_may_have_a_gate_of_its_own(model):
    done = run("compile", "model.onnx", "--gate", "margin", "--gate", "3=max-prob:temperature=1.4")
    assert done.exit_code == 0
    first, second, _ = EngineDir.open("engines").manifest.segments
    assert (first.contract.gate["name"], first.contract.gate["temperature"]) == ("max-prob", 1.4)
    assert (second.contract.gate["name"], second.contract.gate["temperature"]) == ("margin", 1.0)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("nothing.pt",), 1, "nothing.pt: no such file"),
        (("text.pt",), 1, "text file"),
        (("short.pt",), 1, "truncated or damaged"),
        (("bare.pt",), 1, "pickle, which can execute code"),
        (("model.onnx", "--exits", "3,9"), 1, "no exit 9; it has exits 3, 7"),
        (("model.onnx", "--exits", "7,3"), 2, "out of order; write 3,7"),
        (("model.onnx", "--exits", "3,3"), 2, "names exit 3 more than once"),
        (("model.onnx", "--exits", "a,b"), 2, "write them like 3,7,12"),
        (("model.onnx", "--exits", "0,3"), 2, "exit ids start at 1"),
        (("model.onnx", "--max-batch", "0"), 2, "the largest batch must be 1 or more"),
        (("model.onnx", "--gate", "guess"), 2, "there is no gate 'guess'; there are max-prob"),
        (
            ("model.onnx", "--gate", "5=margin"),
            2,
            "a gate is named for exit 5, which is not kept; the exits kept are 3, 7",
        ),
        (("model.onnx", "--exits", "7", "--gate", "3=margin"), 2, "not kept; the exits kept are 7"),
        (("model.onnx", "--gate", "3=margin", "--gate", "3=entropy"), 2, "exit 3 has a gate already"),
        (("model.onnx", "--gate", "margin", "--gate", "entropy"), 2, "names 2 gates for all exits"),
        (("model.onnx", "--gate", "3=max-prob:heat=2"), 2, "gate max-prob has no option 'heat'"),
        (("model.onnx", "--backend", "abacus"), 2, "there is no backend 'abacus'"),
        (("model.onnx", "--dtype", "fp4"), 2, "no arithmetic for it; it has fp32, fp16, int8"),
        (("model.onnx", "--keep-fp32", "3"), 2, "the whole chain is fp32 already"),
        (("model.onnx", "--dtype", "fp16", "--keep-fp32", "x"), 2, "'x' is neither an exit id nor `last`"),
        (("model.onnx", "--offline", "--backend", "openvino"), 2, "--offline is for backend onnxruntime"),
        (("model.onnx", "--dim", "length=4"), 2, "write NAME=MIN:USUAL:MAX"),
        (("model.onnx", "--dim", "length=1:2:4"), 2, "--dim length: there is no such dynamic dimension"),
        (("model.onnx", "--dtype", "int8"), 2, "takes its ranges from real inputs, and there are none"),
        (("model.onnx", "--dtype", "int8", "--data", "."), 2, "takes its ranges from an .npz file of inputs by name"),
        (("model.onnx", "--dtype", "int8", "--data", "none.npz"), 1, "none.npz: there is no such file"),
        (("model.onnx", "--dtype", "int8", "--data", "text.npz"), 1, "is not a whole .npz file of plain arrays"),
        (("model.onnx", "--dtype", "int8", "--data", "other.npz"), 1, "the model takes the inputs x; found other"),
        (("model.onnx", "--dtype", "int8", "--data", "nan.npz"), 1, "int8: input 'x' holds NaN in 1 of 3 rows"),
        (
            ("model.onnx", "--dtype", "int8", "--data", "wide.npz"),
            1,
            "has the shape [3, 5]; the model takes [batch, 4]",
        ),
        (("model.onnx", "--dtype", "int8", "--data", "empty.npz"), 1, "input 'x' is empty"),
        (("model.onnx", "--dtype", "int8", "--data", "code.npz"), 1, "is not a whole .npz file of plain arrays"),
        (("model.onnx", "--engine-dir", "text.pt"), 1, "is a file, not a directory"),
        ((".",), 1, "is a folder"),
    ],
)
def test_bad_input_is_met_with_one_sentence_and_its_exit_code(model, arguments, code, says):
    Path("text.pt").write_text("weights\n")
    with zipfile.ZipFile("short.pt", "w") as archive:
        archive.writestr("model/data.pkl", b"\x80\x02}." * 1000)
    Path("short.pt").write_bytes(Path("short.pt").read_bytes()[:-30])
    Path("bare.pt").write_bytes(pickle.dumps(Loud(Path("executed"))))
    write_inputs()
    done = run("compile", *arguments)
    assert done.exit_code == code
    assert says in sentence(done)
    assert not Path("executed").exists()
    assert not Path("engines/manifest.json").exists()


def test_a_failed_compile_leaves_the_directory_that_was_there(model):
    assert run("compile", "model.onnx").exit_code == 0
    before = Path("engines/manifest.json").read_bytes()
    assert run("compile", "model.onnx", "--exits", "3,40").exit_code == 1
    assert Path("engines/manifest.json").read_bytes() == before


def test_ranges_of_int8_come_from_a_file_that_may_hold_labels(model):
    np.savez("data.npz", x=np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32), labels=np.zeros(40))
    done = run("compile", "model.onnx", "--dtype", "int8", "--data", "data.npz", "--json")
    assert done.exit_code == 0
    payload = json.loads(done.stdout)
    assert payload["engines"].startswith("engines/onnxruntime-cpu-int8/")
    assert [built["miss"] for built in payload["built"]] == ["not built before"] * 4
