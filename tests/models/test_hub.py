"""Networks of transformers by class and configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny_transformers as tiny

from etbac.errors import InputError, UsageError
from etbac.models import hub, registry
from etbac.models.attach import attach_exits
from etbac.models.blocks import find_blocks


def test_every_architecture_has_a_tiny_form() -> None:
    assert set(tiny.CONFIGS) == set(hub.ARCHITECTURES.values()) == set(tiny.BLOCKS)


@pytest.mark.parametrize("architecture", tiny.CONFIGS)
def test_blocks_are_the_layers_and_exits_answer_like_the_full_model(architecture: str) -> None:
    network, inputs = tiny.make(architecture), tiny.inputs(architecture)
    flags = [parameter.requires_grad for parameter in network.parameters()]
    assert find_blocks(network, inputs) == tiny.BLOCKS[architecture]
    assert [parameter.requires_grad for parameter in network.parameters()] == flags
    with_exits = attach_exits(network, tiny.task(architecture), "all", example_inputs=inputs).eval()
    answers = with_exits(**inputs)
    assert len(with_exits.exits) == len(tiny.BLOCKS[architecture]) - 1
    assert {tuple(answer.shape) for answer in answers.values()} == {tuple(answers["prediction"].shape)}


def test_heads_of_text_leave_padding_out() -> None:
    name = "BertForSequenceClassification"
    inputs = {"input_ids": torch.randint(3, 30, (1, 6)), "attention_mask": torch.tensor([[1, 1, 1, 1, 0, 0]])}
    network = attach_exits(tiny.make(name), "text", "all", example_inputs=inputs).eval()
    short = {key: value[:, :4] for key, value in inputs.items()}
    torch.testing.assert_close(network(**inputs)["exit_1"], network(**short)["exit_1"], rtol=1e-4, atol=1e-5)


def test_the_registry_makes_them() -> None:
    options = tiny.CONFIGS["ViTForImageClassification"]
    network = registry.factory("transformers")(architecture="ViTForImageClassification", config=options)
    assert type(network).__name__ == "ViTForImageClassification"


@pytest.mark.parametrize(
    ("architecture", "config", "message"),
    [
        ("BertForMaskedLM", {}, "'BertForMaskedLM' is not one of BertForSequenceClassification"),
        ("BertForSequenceClassification", {"hiden_size": 3}, "no option 'hiden_size'; it has.*hidden_size"),
        ("BertForSequenceClassification", {"attn_implementation": "some/kernel"}, "no option 'attn_implementation'"),
        ("BertForSequenceClassification", {"auto_map": {}}, "no option 'auto_map'"),
        ("UperNetForSemanticSegmentation", {"backbone": "some/model"}, "no option 'backbone'"),
        ("UperNetForSemanticSegmentation", {"backbone_config": {"model_type": "timm_backbone"}}, "'timm_backbone'"),
        (
            "VitPoseForPoseEstimation",
            {"backbone_config": {"model_type": "resnet", "use_timm_backbone": True}},
            "backbone_config has no option 'use_timm_backbone'",
        ),
    ],
)
def test_what_is_not_plain_configuration_is_refused(architecture: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        hub.transformers(architecture, config)


@pytest.mark.parametrize("architecture", ["BertForSequenceClassification", "VitPoseForPoseEstimation"])
def test_a_folder_says_how_to_make_its_network(architecture: str, tmp_path: Path) -> None:
    network = tiny.make(architecture)
    network.config.save_pretrained(tmp_path)  # type: ignore[union-attr,operator]
    arguments = hub.read_folder(tmp_path)
    json.dumps(arguments)
    again = hub.transformers(**arguments)
    assert type(again) is type(network)
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    assert {name: tensor.shape for name, tensor in again.state_dict().items()} == shapes


def test_a_folder_of_another_number_of_classes(tmp_path: Path) -> None:
    tiny.make("ViTForImageClassification").config.save_pretrained(tmp_path)  # type: ignore[union-attr,operator]
    network = hub.transformers(**hub.read_folder(tmp_path, num_labels=7))
    assert network(**tiny.inputs("ViTForImageClassification")).logits.shape == (2, 7)


def test_a_folder_of_an_encoder_alone_becomes_a_classifier(tmp_path: Path) -> None:
    tiny.make("BertForSequenceClassification").bert.config.save_pretrained(tmp_path)  # type: ignore[union-attr,operator]
    assert hub.read_folder(tmp_path)["architecture"] == "BertForSequenceClassification"


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, InputError, "no config.json"),
        ("{", InputError, "not JSON"),
        ("[]", UsageError, "model type None; there are bert"),
        ('{"model_type": "gpt2"}', UsageError, "'gpt2'; there are bert"),
    ],
)
def test_a_folder_of_something_else_is_refused(
    content: str | None, error: type[Exception], message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(error, match=message):
        hub.read_folder(tmp_path)
