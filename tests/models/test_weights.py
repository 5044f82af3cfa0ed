"""Files and folders of weights: what is placed, what is listed, what is refused."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
from support import tiny_transformers as tiny
from support.state_dicts import randomised, require_same, saved, shaken

from etbac.errors import EtbacError, InputError, UnsafeFileError
from etbac.models.resnet import imagenet_resnet
from etbac.models.weights import Report, load_weights

RAN: list[str] = []


class Payload:
    """Unpickling one would call `run`."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return run, ("code of a file ran",)


def run(what: str) -> None:
    RAN.append(what)


@pytest.mark.parametrize("architecture", ["BertForSequenceClassification", "RobertaForSequenceClassification"])
def test_an_encoder_alone_is_placed_in_a_classifier(architecture: str, tmp_path: Path) -> None:
    first, other = randomised(tiny.make(architecture)), tiny.make(architecture)
    encoder = first.base_model
    encoder.save_pretrained(tmp_path)  # type: ignore[union-attr,operator]
    report = load_weights(other, tmp_path)
    assert {name.split(".")[0] for name in report.missing} == {"classifier"}
    assert not report.left_over
    ids = tiny.inputs(architecture)
    with torch.no_grad():
        expected = encoder(**ids).last_hidden_state  # type: ignore[operator]
        found = other.base_model(**ids).last_hidden_state  # type: ignore[operator]
    torch.testing.assert_close(found, expected)


def test_a_masked_language_model_leaves_its_head_over(tmp_path: Path) -> None:
    name = "BertForSequenceClassification"
    state = {key: value for key, value in randomised(tiny.make(name)).state_dict().items() if "classifier" not in key}
    state |= {"cls.predictions.bias": torch.zeros(30), "cls.predictions.transform.dense.weight": torch.zeros(16, 16)}
    report = load_weights(tiny.make(name), saved(state, tmp_path))
    assert report.left_over == ("cls.predictions.bias", "cls.predictions.transform.dense.weight")
    assert report.missing == ("classifier.bias", "classifier.weight")


def test_a_folder_in_pieces(tmp_path: Path) -> None:
    name = "BertForSequenceClassification"
    first = randomised(tiny.make(name))
    first.save_pretrained(tmp_path, max_shard_size="4KB")  # type: ignore[union-attr,operator]
    assert (tmp_path / "model.safetensors.index.json").exists()
    assert load_weights(tiny.make(name), tmp_path).complete


def test_a_classifier_of_another_size_is_listed_with_both_shapes(tmp_path: Path) -> None:
    report = load_weights(
        imagenet_resnet(18, num_classes=7, width=4), saved(imagenet_resnet(18, width=4).state_dict(), tmp_path)
    )
    assert report.other_shape == (("fc.weight", (7, 32), (1000, 32)), ("fc.bias", (7,), (1000,)))
    assert not report.complete
    assert report.lines()[1:] == [
        "2 of another shape, drawn at random: fc.weight (1000×32 in the file, 7×32 here), "
        "fc.bias (1000 in the file, 7 here)"
    ]


def test_so_it_is_in_transformers(tmp_path: Path) -> None:
    name = "ViTForImageClassification"
    report = load_weights(tiny.make(name, num_labels=7), saved(tiny.make(name).state_dict(), tmp_path))
    assert sorted(report.other_shape) == [("classifier.bias", (7,), (5,)), ("classifier.weight", (7, 16), (5, 16))]


@pytest.mark.parametrize("key", ["state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_what_training_programs_save_is_unwrapped(key: str, prefix: str, tmp_path: Path) -> None:
    first = shaken(imagenet_resnet(18, width=4))
    inner = {f"{prefix}{name}": tensor for name, tensor in first.state_dict().items()}
    torch.save({"epoch": 3, key: inner, "optimizer": {"lr": 0.1}}, tmp_path / "last.pth")
    other = imagenet_resnet(18, width=4).eval()
    report = load_weights(other, tmp_path / "last.pth")
    assert report.complete
    assert not report.left_over
    require_same(other, first, torch.randn(2, 3, 32, 32))


def test_safetensors_are_read(tmp_path: Path) -> None:
    first = shaken(imagenet_resnet(18, width=4))
    safetensors.torch.save_file(first.state_dict(), tmp_path / "w.safetensors")
    assert load_weights(imagenet_resnet(18, width=4), tmp_path / "w.safetensors").complete


def test_nothing_that_fits_is_an_error(tmp_path: Path) -> None:
    path = saved({"emb.weight": torch.zeros(3)}, tmp_path)
    with pytest.raises(EtbacError, match=r"none of the 1 tensors.*fits ResNet: it has emb.weight"):
        load_weights(imagenet_resnet(18, width=4), path)


@pytest.mark.parametrize("file", ["weights.pth", "pytorch_model.bin"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_refused_and_nothing_runs(file: str, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / file
    if zipped:
        torch.save({"fc.weight": Payload()}, path)
    else:
        path.write_bytes(pickle.dumps(Payload()))
    for named in (path, tmp_path) if file == "pytorch_model.bin" else (path,):
        with pytest.raises(UnsafeFileError, match=file):
            load_weights(imagenet_resnet(18, width=4), named)
    assert RAN == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.pth", None, "no such file"),
        ("empty.pth", b"", "not a whole PyTorch file"),
        ("cut.safetensors", b"\x10\0\0\0\0\0\0\0{", "not a whole safetensors file"),
        ("", None, "neither model.safetensors nor"),
    ],
)
def test_what_is_no_file_of_weights_is_said(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_weights(imagenet_resnet(18, width=4), tmp_path / name)


def test_an_index_that_leads_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": os.path.join("..", "other.safetensors")}})
    )
    with pytest.raises(UnsafeFileError, match="outside its folder"):
        load_weights(imagenet_resnet(18, width=4), tmp_path)


def test_a_long_list_is_cut() -> None:
    text = "\n".join(Report("x", ("a",), missing=tuple(f"m{n}" for n in range(20))).lines())
    assert (
        text == "1 tensors placed (x)\n20 not in the file, drawn at random: m0, m1, m2, m3, m4, m5, m6, m7 and 12 more"
    )
