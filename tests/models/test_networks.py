from __future__ import annotations

import pytest
import torch

from etbac.errors import UsageError
from etbac.models import registry
from etbac.models.blocks import find_blocks
from etbac.models.resnet import cifar_resnet, imagenet_resnet


@pytest.mark.parametrize("depth", [8, 20, 32, 44, 56, 110])
def test_a_cifar_resnet_has_6n_plus_2_layers(depth: int) -> None:
    network = cifar_resnet(depth, in_channels=1, num_classes=7, width=4)
    layers = [
        m
        for name, m in network.named_modules()
        if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear)) and "downsample" not in name
    ]
    assert len(layers) == depth
    assert network(torch.randn(2, 1, 16, 16)).shape == (2, 7)


@pytest.mark.parametrize(
    ("depth", "parameters"), [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160)]
)
def test_an_imagenet_resnet_has_the_published_number_of_parameters(depth: int, parameters: int) -> None:
    with torch.device("meta"):
        network = imagenet_resnet(depth)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize("make", [cifar_resnet, imagenet_resnet])
def test_a_depth_outside_the_family_is_refused(make: object) -> None:
    with pytest.raises(ValueError, match="19"):
        make(19)  # type: ignore[operator]


@pytest.mark.parametrize("size", [28, 32])
def test_vgg16_fits_the_size_of_its_pictures(size: int) -> None:
    network = registry.factory("vgg16")(in_channels=1, num_classes=5, image_size=size).eval()
    pictures = torch.randn(2, 1, size, size)
    assert network(pictures).shape == (2, 5)
    assert len(find_blocks(network, {"image": pictures})) == 13


@pytest.mark.parametrize(("norm", "parameters"), [(False, 138_357_544), (True, 138_365_992)])
def test_vgg16_with_the_papers_classifier_has_the_published_number_of_parameters(norm: bool, parameters: int) -> None:
    with torch.device("meta"):
        network = registry.factory("vgg16")(num_classes=1000, image_size=224, norm=norm, hidden=4096)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize(("depth", "parameters"), [(50, 34_000_000), (101, 53_000_000)])
def test_a_pose_network_has_the_published_number_of_parameters(depth: int, parameters: int) -> None:
    with torch.device("meta"):
        network = registry.factory(f"pose-resnet{depth}")()
    assert round(sum(p.numel() for p in network.parameters()), -6) == parameters
    assert [name for name, _ in network.named_children()][-2:] == ["deconv_layers", "final_layer"]


def test_a_pose_network_answers_heatmaps_of_a_quarter() -> None:
    network = registry.factory("pose-resnet18")(joints=5, width=4, deconv_width=8).eval()
    pictures = torch.randn(2, 3, 64, 32)
    assert network(pictures).shape == (2, 5, 16, 8)
    assert len(find_blocks(network, {"image": pictures})) == 8


def test_a_segmentation_network_answers_a_quarter_from_maps_of_an_eighth() -> None:
    network = registry.factory("deeplab-resnet18")(num_classes=4, width=4, head_width=8).eval()
    pictures = torch.randn(2, 3, 64, 48)
    assert network(pictures).shape == (2, 4, 16, 12)
    assert network.backbone.maps(pictures).shape == (2, 32, 8, 6)
    assert len(find_blocks(network, {"image": pictures})) == 8


def test_a_segmentation_network_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = registry.factory("deeplab-resnet50")(num_classes=21)
    auxiliary = 9 * 1024 * 256 + 2 * 256 + 256 * 21 + 21
    assert sum(p.numel() for p in network.parameters()) == 42_004_074 - auxiliary


def test_every_registered_name_makes_a_network() -> None:
    with torch.device("meta"):
        for name in set(registry.names()) - {"transformers"}:
            assert isinstance(registry.factory(name)(), torch.nn.Module)


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        UsageError, match=r"resnet9.*resnet8, .*lite4, vgg16, pose-resnet18.*deeplab-resnet18.*transformers"
    ):
        registry.factory("resnet9")


def test_a_users_factory_may_be_a_method_of_a_class() -> None:
    assert registry.user_factory("torch.nn:Sequential.forward") is torch.nn.Sequential.forward


@pytest.mark.parametrize(
    "target", ["no_such_module_here:make", "json:JSONDecoder.no_such_method", "json:no_such_function"]
)
def test_a_users_factory_that_is_not_there_is_named(target: str) -> None:
    with pytest.raises(UsageError, match=target):
        registry.user_factory(target)
