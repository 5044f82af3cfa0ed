"""The product's own networks, and those of this folder."""

from __future__ import annotations

import torch

from benchmarks.zoo import networks
from benchmarks.zoo.dense import DenseExits, EnsembleExits
from benchmarks.zoo.subject import ROWS, Subject, images, token_ids, with_attached_exits, with_own_exits
from etbac.models.resnet import cifar_resnet, imagenet_resnet
from etbac.models.vgg import vgg16 as vgg
from etbac.passes.gates import create


def resnet32() -> Subject:
    return with_attached_exits(cifar_resnet(32), {"image": images(3, 32, 32)})


def resnet50() -> Subject:
    return with_attached_exits(imagenet_resnet(50), {"image": images(3, 64, 64)}, at=[3, 7, 13])


def resnet101() -> Subject:
    return with_attached_exits(imagenet_resnet(101), {"image": images(3, 64, 64)})


def vgg16() -> Subject:
    return with_attached_exits(vgg(), {"image": images(3, 32, 32)})


def densenet() -> Subject:
    return with_attached_exits(networks.DenseNet(), {"image": images(3, 64, 64)})


def group_norm() -> Subject:
    return with_attached_exits(networks.GroupNormNet(), {"image": images(3, 32, 32)}, at=["blocks.1", "blocks.4"])


def unet() -> Subject:
    """Exits in the encoder, at the bottom and in the decoder: behind each, the decoder still reads earlier levels."""
    network, inputs = networks.UNet(), {"image": images(3, 64, 64)}
    places = ["down.1", "down.3", "resize.0", "up.0", "resize.2"]
    return with_own_exits(DenseExits(network, places, inputs), inputs, create("pixels", {}))


def lstm() -> Subject:
    return with_own_exits(networks.RecurrentNet(), {"input_ids": token_ids(1000, 24)["input_ids"]})


def ensemble() -> Subject:
    features = torch.randn(ROWS, 64, generator=torch.Generator().manual_seed(0))
    return with_own_exits(EnsembleExits(), {"features": features})
