"""What is said, and chosen, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny_transformers
from support.published import cifar10, image_mask, mpii, texts
from support.tiny_transformers import LAYERS

from etbac.cli.train import FORMS
from etbac.errors import UnsupportedModelError, UsageError
from etbac.models import checkpoint as checkpoints
from etbac.models.resnet import cifar_resnet
from etbac.training import ExitOptions, train
from etbac.training.begin import MODELS, DataAsked, begin
from etbac.training.example import example_inputs

BERT = "BertForSequenceClassification"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("begin")


@pytest.fixture(scope="module")
def bert(folder: Path) -> Path:
    """A folder of transformers, with its tokenizer."""
    tiny_transformers.make(BERT, vocab_size=200, max_position_embeddings=24).save_pretrained(folder / "bert")
    texts.write_vocabulary(folder / "bert")
    texts.write(folder / "texts")
    return folder / "bert"


def test_what_help_says_is_the_tasks_model_is_it() -> None:
    assert {task: form.model for task, form in FORMS.items()} == MODELS


def test_a_folder_of_transformers_says_its_network_and_its_tokenizer(bert: Path) -> None:
    asked = DataAsked("text-file", bert.parent / "texts", preprocessing={"max_length": 12})
    begun = begin(None, bert, None, {}, asked, task="text")
    assert begun.trained
    assert begun.kwargs["architecture"] == BERT
    assert example_inputs(begun)["input_ids"].shape == (2, 12)


@pytest.mark.parametrize(
    ("config", "asked", "message"),
    [
        ({"vocab_size": 50}, {"max_length": 12}, r"tokens and the model 50: name the model's own tokenizer"),
        ({"vocab_size": 200, "max_position_embeddings": 24}, {}, r"fails on .*\[2, 128\].*max_length no more than"),
    ],
)
def test_a_tokenizer_that_is_not_the_models_is_refused(
    bert: Path, config: dict[str, Any], asked: dict[str, Any], message: str
) -> None:
    data = DataAsked("text-file", bert.parent / "texts", preprocessing={"tokenizer": str(bert), **asked})
    options = {"architecture": BERT, "config": {**LAYERS, **config}}
    with pytest.raises(UsageError, match=message):
        example_inputs(begin("transformers", None, None, options, data, task="text"))


def test_a_model_of_texts_must_take_what_a_tokenizer_gives(bert: Path) -> None:
    data = DataAsked("text-file", bert.parent / "texts", preprocessing={"tokenizer": str(bert)})
    with pytest.raises(UsageError, match="Words takes tokens, and a tokenizer gives input_ids"):
        begin("support.factories:Words", None, None, {}, data, task="text")


def test_a_pose_network_has_as_many_joints_as_the_data(folder: Path) -> None:
    network = tiny_transformers.make("VitPoseForPoseEstimation", num_labels=16)
    network.save_pretrained(folder / "vitpose")
    mpii.write(folder / "mpii", train=20, valid=2)
    size = {"height": 32, "width": 24}
    begun = begin(None, folder / "vitpose", None, {}, DataAsked("mpii", folder / "mpii", None, size), task="pose")
    assert begun.trained
    inputs = example_inputs(begun)
    expected = network(**inputs).heatmaps
    torch.testing.assert_close(begun.trunk(**inputs).heatmaps, expected)
    data = DataAsked("mpii", folder / "mpii", None, {"height": 64, "width": 64})
    few = begin("pose-resnet18", None, None, {"joints": 4, "width": 8}, data, task="pose")
    with pytest.raises(UsageError, match="answers 4 values a sample, or place in it, and the data have 16 joints"):
        example_inputs(few)


def test_a_model_of_more_classes_than_the_data_is_taken(folder: Path) -> None:
    cifar10.write(folder / "cifar")
    options = {"num_classes": 12, "width": 8}
    begun = begin("resnet8", None, None, options, DataAsked("cifar10", folder / "cifar"))
    assert example_inputs(begun)["image"].shape == (2, 3, 32, 32)


def test_masks_of_more_classes_than_the_model_answers_are_refused(folder: Path) -> None:
    image_mask.write(folder / "masks", count=40)
    data = DataAsked("image-mask", folder / "masks", None, {"height": 32, "width": 32})
    few = begin("deeplab-resnet18", None, None, {"num_classes": 1, "width": 8}, data, task="segmentation")
    with pytest.raises(UsageError, match=r"answers 1 values .* have 2 classes \(ground, disc"):
        example_inputs(few)
    other = begin("resnet18", None, None, {"width": 8}, data, task="segmentation")
    with pytest.raises(UnsupportedModelError, match="segmentation needs logits"):
        example_inputs(other)


def test_a_checkpoint_says_all_but_where_its_data_are(data_folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    trunk = cifar_resnet(8, 1, 10, width=4)
    heads = ExitOptions(epochs=1)
    out = tmp_path / "own.pt"
    train(trunk, out=out, data=data_folder, factory="support.factories:small", exits=[2], heads=heads)
    assert begin(None, out, "support.factories:small", {}, DataAsked(folder=data_folder)).task == "classification"
    for model, asked in (
        ("resnet20", DataAsked()),
        (None, DataAsked("cifar10")),
        (None, DataAsked(preprocessing={"height": 8})),
    ):
        with pytest.raises(UsageError, match="is a checkpoint, which says its model, its data and how they are read"):
            begin(model, out, "support.factories:small", {}, asked)
    with pytest.raises(UsageError, match="is of the task classification, and text was asked for"):
        begin(None, out, "support.factories:small", {}, DataAsked(), task="text")
    assert checkpoints.load(out, "support.factories:small").network.task == "classification"
