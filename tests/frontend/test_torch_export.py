"""From torch modules and factories to exit models that answer what the module answers, at every batch size."""

from __future__ import annotations

import contextlib
import gc
import io
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from support.exit_modules import Residual, build
from support.onnx_text import run
from torch import Tensor, nn

from etbac.contract import TensorSpec
from etbac.errors import EtbacError, InputError, UnsafeFileError, UnsupportedModelError, UsageError
from etbac.frontend import InputShape, LoadOptions, load_model
from etbac.frontend.factory import load_weights
from etbac.frontend.torch_export import export_dict, from_module
from etbac.models.attach import attach_exits
from etbac.passes.exit_model import ExitModel
from etbac.passes.model_passes import PassOptions, model_passes

IMAGE = {"image": InputShape(("B", 1, 8, 8))}


def _same_answers(found: ExitModel, module: nn.Module, inputs: Mapping[str, Any]) -> None:
    thresholds = {f"gate_{exit_id}.threshold": np.float32(0.5) for exit_id in found.gates}
    answers = run(found.model, {**inputs, **thresholds})
    with torch.no_grad():
        expected = module(**{name: torch.as_tensor(array) for name, array in inputs.items()})
    for name, tensor in expected.items():
        np.testing.assert_allclose(answers[name], tensor.numpy(), rtol=1e-4, atol=1e-5)


def test_a_factory_is_exported_in_silence_and_answers_as_its_module() -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        found = load_model("support.exit_modules:build", LoadOptions(input_shapes=IMAGE))
    assert said.getvalue() == ""
    assert list(found.exits) == [1, 2, 3]
    assert found.full == {"prediction": "logits"}
    assert found.source["kind"] == "factory"
    model_passes(found, PassOptions())
    assert "BatchNormalization" not in {node.op_type for node in found.model.graph}
    for batch in (1, 2, 5):
        image = np.random.default_rng(batch).standard_normal((batch, 1, 8, 8)).astype(np.float32)
        _same_answers(found, build(), {"image": image})


class Pooled(nn.Module):
    """Global pooling of channels-last maps, and pooling to a grid."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 4), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = x.permute(0, 3, 1, 2)
        whole = nn.functional.adaptive_avg_pool2d(maps, 1).flatten(1)
        line = nn.functional.adaptive_avg_pool1d(maps.flatten(2), 1).flatten(1)
        grid = nn.functional.adaptive_avg_pool2d(maps, 2).flatten(1)
        return {"exit_1": self.first(whole + line), "prediction": self.second(grid)}


def test_global_pooling_gathers_nothing() -> None:
    torch.manual_seed(0)
    module, rng = Pooled().eval(), np.random.default_rng(0)
    spec = TensorSpec("x", "float32", ("batch", 4, 8, 6), 0)
    found = export_dict(module, [spec], {"x": torch.randn(2, 4, 8, 6)}, "pooled", {})
    assert "Gather" not in {node.op_type for node in found.model.graph}
    _same_answers(found, module, {"x": rng.standard_normal((5, 4, 8, 6)).astype(np.float32)})


def test_weights_that_the_export_folds_away_are_freed() -> None:
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()
    image = {"input": torch.randn(2, 3, 8, 8)}
    exported = from_module(attach_exits(trunk, at=["1"], example_inputs=image).eval(), image, {})
    assert "BatchNormalization" not in {node.op_type for node in exported.model.graph}
    weight = weakref.ref(trunk[0].weight)
    del trunk
    gc.collect()
    assert weight() is None


class TinySwin(nn.Module):
    """Attention in windows, which are rows of a batch of their own: 16 windows of 4 pixels an image."""

    def __init__(self) -> None:
        from transformers import SwinConfig, SwinForImageClassification

        super().__init__()
        config = SwinConfig(image_size=16, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=2)
        self.swin = SwinForImageClassification(config)

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        logits = self.swin(pixel_values).logits
        return {"exit_1": pixel_values.mean((2, 3))[:, :2], "prediction": logits}


def test_attention_in_windows_is_exported() -> None:
    torch.manual_seed(0)
    module, rng = TinySwin().eval(), np.random.default_rng(0)
    spec = TensorSpec("pixel_values", "float32", ("batch", 3, 16, 16), 0)
    found = export_dict(module, [spec], {"pixel_values": torch.randn(2, 3, 16, 16)}, "windows", {})
    assert "node_as_strided" not in {node.name for node in found.model.graph}
    _same_answers(found, module, {"pixel_values": rng.standard_normal((5, 3, 16, 16)).astype(np.float32)})


class TinyBert(nn.Module):
    """Exits after both layers of a BERT that transformers builds."""

    def __init__(self) -> None:
        from transformers import BertConfig, BertModel

        super().__init__()
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=40, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24
        )
        self.bert = BertModel(config)
        self.heads = nn.ModuleList(nn.Linear(16, 3) for _ in range(3))

    def forward(self, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        states = self.bert(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[1:]
        answers = [head(state[:, 0]) for head, state in zip(self.heads, states, strict=True)]
        return {"exit_1": answers[0], "exit_2": answers[1], "prediction": answers[2]}


@pytest.mark.long
def test_a_transformer_with_two_dynamic_axes_answers_as_its_module() -> None:
    network = TinyBert().eval()
    specs = [TensorSpec("ids", "int64", ("B", "L"), 0), TensorSpec("mask", "int64", ("B", "L"), 0)]
    inputs = {name: np.ones((2, 8), np.int64) for name in ("ids", "mask")}
    found = model_passes(export_dict(network, specs, inputs, "bert", {}), PassOptions(exits=(2,)))
    assert found.batch_axes == {"ids": 0, "mask": 0}
    rng = np.random.default_rng(0)
    for batch, length in ((1, 8), (3, 5), (4, 11)):
        ids, mask = rng.integers(0, 40, (batch, length)), np.ones((batch, length), np.int64)
        mask[:, length - 2 :] = 0
        answers = run(found.model, {"ids": ids, "mask": mask, "gate_2.threshold": np.float32(0.5)})
        with torch.no_grad():
            expected = network(torch.as_tensor(ids), torch.as_tensor(mask))
        for name in ("exit_2", "prediction"):
            np.testing.assert_allclose(answers[name], expected[name].numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("factory", "shapes", "error", "message"),
    [
        ("left_in_training", IMAGE, UnsupportedModelError, r"it \(Residual\) is in training mode.*call \.eval\(\)"),
        ("dropout_left_in_training", IMAGE, UnsupportedModelError, r"its module '1' \(Dropout\) is in training mode"),
        (
            "fixed_batch",
            {"x": InputShape(("B", 3))},
            UnsupportedModelError,
            r"size\(\)\[0\] is 2, and .* must stay open",
        ),
        ("without_exits", {"input": InputShape(("B", 3))}, UsageError, "has no exits; attach some"),
        ("not_a_module", IMAGE, UsageError, "returned a int"),
        ("build", {}, UsageError, "--input-shape name:BxCxHxW"),
        ("build", {"x": IMAGE["image"]}, InputError, "unexpected keyword argument 'x'"),
        ("build", {"image": InputShape(("B", 3))}, InputError, "fails on the example inputs"),
        ("nothing", IMAGE, UsageError, "has no function 'nothing'"),
    ],
)
def test_a_factory_that_gives_no_exit_model_is_explained(
    factory: str, shapes: dict[str, InputShape], error: type[EtbacError], message: str
) -> None:
    with pytest.raises(error, match=message):
        load_model(f"support.exit_modules:{factory}", LoadOptions(input_shapes=shapes))


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_weights_are_loaded_into_a_network(tmp_path: Path, ending: str) -> None:
    other, network = build(), build()
    for parameter in other.parameters():
        parameter.data += 0.25
    path = tmp_path / f"weights.{ending}"
    if ending == "safetensors":
        safetensors.torch.save_file(other.state_dict(), path)
    else:
        torch.save(other.state_dict(), path)
    load_weights(network, path)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, other.state_dict()[name])


def test_weights_that_are_wrong_are_refused(tmp_path: Path) -> None:
    contents: dict[str, tuple[Any, type[EtbacError], str]] = {
        "module.pt": (Residual(), UnsafeFileError, "more than tensors"),
        "list.pt": ([torch.ones(1)], EtbacError, "is no state dict"),
        "other.pt": (nn.Linear(2, 2).state_dict(), EtbacError, "does not fit the network"),
    }
    for name, (content, error, message) in contents.items():
        torch.save(content, tmp_path / name)
        with pytest.raises(error, match=message):
            load_weights(build(), tmp_path / name)
    with pytest.raises(EtbacError, match="no such file"):
        load_weights(build(), tmp_path / "absent.pt")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(EtbacError, match="is not a whole safetensors file"):
        load_model("support.exit_modules:build", LoadOptions(input_shapes=IMAGE, weights=tmp_path / "cut.safetensors"))


def test_a_single_row_is_no_example() -> None:
    specs = [TensorSpec("image", "float32", ("B", 1, 8, 8), 0)]
    with pytest.raises(InputError, match="at least two rows"):
        export_dict(build(), specs, {"image": np.ones((1, 1, 8, 8), np.float32)}, "m", {})


def test_outputs_that_are_one_tensor_keep_both_names() -> None:
    class Same(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            answer = x * 2
            return {"exit_1": answer, "exit_2": x, "logits": answer}

    specs = [TensorSpec("x", "float32", ("B", 3), 0)]
    found = export_dict(Same().eval(), specs, {"x": np.ones((2, 3), np.float32)}, "m", {})
    _same_answers(model_passes(found, PassOptions()), Same(), {"x": np.ones((3, 3), np.float32)})
