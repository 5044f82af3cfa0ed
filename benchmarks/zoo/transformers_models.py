"""Models of the package transformers at their published widths and depths, with random weights.

Inputs are small where the definition of the model lets them be.
"""

from __future__ import annotations

import torch
import transformers as tf

from benchmarks.zoo.dense import DenseExits
from benchmarks.zoo.subject import ROWS, Subject, images, token_ids, with_attached_exits, with_own_exits
from etbac.passes.gates import create

JOINTS = 17


def resnet50() -> Subject:
    return with_attached_exits(_random(tf.ResNetForImageClassification(tf.ResNetConfig())), _pixels(64))


def vit() -> Subject:
    return with_attached_exits(_random(tf.ViTForImageClassification(tf.ViTConfig(image_size=96))), _pixels(96))


def swin() -> Subject:
    return with_attached_exits(_random(tf.SwinForImageClassification(tf.SwinConfig())), _pixels(224))


def bert_base() -> Subject:
    model = tf.BertForSequenceClassification(tf.BertConfig())
    return with_attached_exits(_random(model), token_ids(30522, 32))


def roberta_base() -> Subject:
    model = tf.RobertaForSequenceClassification(tf.RobertaConfig(max_position_embeddings=514))
    return with_attached_exits(_random(model), token_ids(50265, 32))


def wav2vec2() -> Subject:
    model = tf.Wav2Vec2ForSequenceClassification(tf.Wav2Vec2Config())
    waves = torch.randn(ROWS, 4000, generator=torch.Generator().manual_seed(0))
    return with_attached_exits(_random(model), {"input_values": waves})


def segformer() -> Subject:
    model, inputs = _random(tf.SegformerForSemanticSegmentation(tf.SegformerConfig())), _pixels(64)
    stages = [f"segformer.stages.{stage}" for stage in range(3)]
    return with_own_exits(DenseExits(model, stages, inputs), inputs, create("pixels", {}))


def vitpose() -> Subject:
    backbone = tf.VitPoseBackboneConfig(image_size=[128, 96], patch_size=[16, 16])
    config = tf.VitPoseConfig(backbone_config=backbone)
    config.num_labels = JOINTS
    model = _random(tf.VitPoseForPoseEstimation(config))
    inputs = {"pixel_values": images(3, 128, 96)}
    layers = {f"backbone.encoder.layer.{index}": (8, 6) for index in (2, 5, 8)}
    return with_own_exits(DenseExits(model, list(layers), inputs, layers), inputs, create("keypoints", {}))


def _random(model: torch.nn.Module) -> torch.nn.Module:
    """Weights large enough that the layers matter: transformers' initial ones hardly change what passes through."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.xavier_normal_(parameter)
    return model


def _pixels(side: int) -> dict[str, torch.Tensor]:
    return {"pixel_values": images(3, side, side)}
