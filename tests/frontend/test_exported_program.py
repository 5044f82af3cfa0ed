"""`.pt2` files: read, and refused where torch.export.load would run what they bring along."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.exit_modules import FixedBatch, build
from support.onnx_text import run
from torch.export import Dim

from etbac.errors import EtbacError, UnsafeFileError, UnsupportedModelError
from etbac.frontend import LoadOptions, load_model

Edit = Callable[[dict[str, Any]], None]


class Attack:
    def __init__(self, evidence: Path) -> None:
        self.evidence = evidence

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.evidence),)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "model.pt2"
    exported = torch.export.export(build(), (torch.zeros(2, 1, 8, 8),), dynamic_shapes=({0: Dim.DYNAMIC},))
    torch.export.save(exported, path)
    return path


def _rewritten(source: Path, target: Path, change: Callable[[str, bytes], bytes], extra: dict[str, bytes]) -> Path:
    """A copy of the archive with members changed and added; names are given without the archive's own folder."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        root = old.namelist()[0].split("/")[0]
        for name in old.namelist():
            new.writestr(name, change(name.removeprefix(f"{root}/"), old.read(name)))
        for name, content in extra.items():
            new.writestr(f"{root}/{name}", content)
    return target


def _edited(source: Path, target: Path, member: str, edit: Edit) -> Path:
    def change(name: str, content: bytes) -> bytes:
        if name != member:
            return content
        document = json.loads(content)
        edit(document)
        return json.dumps(document).encode()

    return _rewritten(source, target, change, {})


def test_a_program_answers_what_its_module_answers(program: Path) -> None:
    found = load_model(program)
    assert list(found.exits) == [1, 2, 3]
    assert found.full == {"prediction": "logits"}
    assert found.source["kind"] == "exported-program"
    for batch in (1, 3):
        image = np.random.default_rng(batch).standard_normal((batch, 1, 8, 8)).astype(np.float32)
        answers = run(found.model, {next(iter(found.batch_axes)): image})
        with torch.no_grad():
            expected = build()(torch.as_tensor(image))
        for name, tensor in expected.items():
            np.testing.assert_allclose(answers[name], tensor.numpy(), rtol=1e-4, atol=1e-5)


def test_example_inputs_with_code_are_refused_and_would_have_run(program: Path, tmp_path: Path) -> None:
    evidence, buffer = tmp_path / "evidence", io.BytesIO()
    torch.save((Attack(evidence),), buffer)
    member = "data/sample_inputs/model.pt"
    hostile = _rewritten(
        program, tmp_path / "hostile.pt2", lambda name, content: buffer.getvalue() if name == member else content, {}
    )
    with pytest.raises(UnsafeFileError, match=r"example inputs that are more than tensors.*--trust"):
        load_model(hostile)
    assert not evidence.exists()
    with pytest.raises(Exception):  # noqa: B017
        torch.export.load(hostile)
    assert evidence.exists()


def test_a_shape_that_is_python_text_is_refused_and_would_have_run(program: Path, tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"

    def edit(document: dict[str, Any]) -> None:
        for value in document["graph_module"]["graph"]["tensor_values"].values():
            for size in value["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = f'exec("import os; os.mkdir({str(evidence)!r})")'

    hostile = _edited(program, tmp_path / "hostile.pt2", "models/model.json", edit)
    with pytest.raises(UnsafeFileError, match="which is more than arithmetic"):
        load_model(hostile)
    assert not evidence.exists()
    with pytest.raises(Exception):  # noqa: B017
        torch.export.load(hostile)
    assert evidence.exists()


def _set_target(target: str) -> Edit:
    def edit(document: dict[str, Any]) -> None:
        document["graph_module"]["graph"]["nodes"][0]["target"] = target

    return edit


def _set_out_spec(tree: dict[str, Any]) -> Edit:
    def edit(document: dict[str, Any]) -> None:
        document["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps([1, tree])

    return edit


IMPORTING = {
    "type": "collections.defaultdict",
    "context": json.dumps({"default_factory_module": "antigravity", "default_factory_name": "x", "dict_context": []}),
    "children_spec": [],
}
ENUM = {"type": "builtins.dict", "context": json.dumps([{"__enum__": True, "fqn": "antigravity:X", "name": "x"}])}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_set_target("torch.os.system"), r"calls 'torch\.os\.system'"),
        (_set_target("torch.ops.load_library"), "no operator of torch"),
        (_set_target("torch.ops.aten.from_file.default"), "no operator of torch"),
        (_set_target("_operator.call"), "no operator of torch"),
        (_set_target("#somebody:extension"), "no operator of torch"),
        (_set_out_spec(IMPORTING), "a type that is no tuple, list or dict"),
        (_set_out_spec({**ENUM, "children_spec": []}), "a type that is no tuple, list or dict"),
        (
            lambda document: document["graph_module"]["graph"].update(custom_obj_values={"x": {"name": "x"}}),
            "custom objects",
        ),
    ],
)
def test_a_program_that_names_more_than_operators_is_refused(
    program: Path, tmp_path: Path, edit: Edit, message: str
) -> None:
    with pytest.raises(UnsafeFileError, match=message):
        load_model(_edited(program, tmp_path / "hostile.pt2", "models/model.json", edit))


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("data/aotinductor/model/code.so", "machine code"),
        ("data/weights/model.pt", "pickled weights"),
        ("data/constants/model.pt", "pickled weights"),
        ("models/second.json", "holds 2 programs"),
    ],
)
def test_an_archive_with_more_than_a_program_is_refused(
    program: Path, tmp_path: Path, member: str, message: str
) -> None:
    hostile = _rewritten(program, tmp_path / "hostile.pt2", lambda _name, content: content, {member: b"{}"})
    with pytest.raises(EtbacError, match=message):
        load_model(hostile)


@pytest.mark.parametrize(("key", "value"), [("use_pickle", True), ("path_name", "opaque_obj_0")])
@pytest.mark.parametrize("kind", ["weights", "constants"])
def test_pickled_payloads_are_refused(program: Path, tmp_path: Path, kind: str, key: str, value: object) -> None:
    def edit(document: dict[str, Any]) -> None:
        payload = {"path_name": "tensor_0", "is_param": False, "use_pickle": False, "tensor_meta": None}
        document["config"] = {"x": {**payload, key: value}}

    hostile = _edited(program, tmp_path / "hostile.pt2", f"data/{kind}/model_{kind}_config.json", edit)
    with pytest.raises(UnsafeFileError, match="a pickled object"):
        load_model(hostile)


def test_a_truncated_program_is_said(program: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pt2"
    cut.write_bytes(program.read_bytes()[:2000])
    with pytest.raises(EtbacError, match="truncated or damaged"):
        load_model(cut)


def test_a_program_exported_in_training_mode_is_refused(tmp_path: Path) -> None:
    module = build().train()
    exported = torch.export.export(module, (torch.zeros(2, 1, 8, 8),), dynamic_shapes=({0: Dim.DYNAMIC},))
    torch.export.save(exported, tmp_path / "model.pt2")
    with pytest.raises(UnsupportedModelError, match=r"batch_norm .* was exported in training mode"):
        load_model(tmp_path / "model.pt2")


def test_a_program_with_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(FixedBatch(), (torch.zeros(2, 3),)), tmp_path / "model.pt2")
    with pytest.raises(UnsupportedModelError, match="its batch is fixed"):
        load_model(tmp_path / "model.pt2")


def test_a_program_without_names_takes_them_from_the_user(tmp_path: Path) -> None:
    class Pair(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x + 1, x + 2

    exported = torch.export.export(Pair(), (torch.zeros(2, 3),), dynamic_shapes=({0: Dim.DYNAMIC},))
    torch.export.save(exported, tmp_path / "model.pt2")
    found = load_model(tmp_path / "model.pt2", LoadOptions(exits=("5=output_0",)))
    assert found.exits == {5: {"prediction": "output_0"}}
    assert found.full == {"prediction": "output_1"}
