from __future__ import annotations

import pytest
import torch
from torch import nn

from etbac.models import heads
from etbac.models.heads.maps import map_shape
from etbac.models.heads.pose import ConvPose


@pytest.mark.parametrize(
    ("tokens", "size", "grid"),
    [
        (196, (56, 56), [14, 14]),
        (197, (56, 56), [14, 14]),
        (201, (14, 14), [14, 14]),
        (192, (64, 48), [16, 12]),
        (193, (48, 64), [12, 16]),
        (5, (8, 8), [2, 2]),
        (7, (8, 8), [2, 2]),
    ],
)
def test_tokens_are_laid_out_in_the_predictions_proportions(
    tokens: int, size: tuple[int, int], grid: list[int]
) -> None:
    assert map_shape(torch.zeros(1, tokens, 6), torch.zeros(1, 3, *size)) == (6, grid, grid)


@pytest.mark.parametrize(
    ("features", "prediction"),
    [((1, 16, 6), (1, 3, 8, 16)), ((1, 6), (1, 3, 8, 8)), ((1, 6, 4, 4), (1, 3)), ((1, 12, 6), (1, 3, 5, 1))],
)
def test_features_that_are_no_map_are_seen(features: tuple[int, ...], prediction: tuple[int, ...]) -> None:
    assert map_shape(torch.zeros(features), torch.zeros(prediction)) is None


def test_tokens_become_the_map_that_they_were_made_from() -> None:
    picture = torch.randn(2, 6, 3, 4)
    tokens = torch.cat([torch.randn(2, 1, 6), picture.flatten(2).transpose(1, 2)], 1)
    options = heads.options_for("conv-segmentation", tokens, torch.zeros(2, 5, 6, 8), "block")
    torch.testing.assert_close(heads.build("conv-segmentation", options).pool(tokens), picture)


@pytest.mark.parametrize(
    ("side", "ups", "down"), [(2, 3, 1), (4, 2, 1), (8, 1, 1), (16, 0, 1), (32, 0, 2), (64, 0, 4), (6, 1, 1)]
)
def test_a_pose_head_has_as_many_deconvolutions_as_lead_to_the_heatmaps(side: int, ups: int, down: int) -> None:
    features, prediction = torch.randn(2, 4, side, side), torch.zeros(2, 3, 16, 16)
    options = heads.options_for("conv-pose", features, prediction, "block")
    head = heads.build("conv-pose", options).eval()
    assert sum(isinstance(module, nn.ConvTranspose2d) for module in head.modules()) == ups == options["ups"]
    assert options.get("down", 1) == down
    assert head(features).shape == (2, 3, 16, 16)


class Deconvolved(nn.Module):
    """The end of a pose network: three deconvolutions of width 8 from 12 channels, and the heatmaps of 3 joints."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before in (12, 8, 8):
            layers += [nn.ConvTranspose2d(before, 8, 4, 2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
        self.deconvolutions = nn.Sequential(*layers)
        self.final = nn.Conv2d(8, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.final(self.deconvolutions(x))  # type: ignore[no-any-return]


def test_a_pose_head_with_the_trunks_shapes_begins_as_the_trunks_end() -> None:
    torch.manual_seed(0)
    trunk, x = Deconvolved(), torch.randn(2, 12, 2, 2)
    trunk.train()(torch.randn(5, 12, 2, 2))
    trunk.eval()
    options = heads.options_for("conv-pose", x, trunk(x), "block")
    head = heads.build("conv-pose", {**options, "hidden": 8}).eval()
    head.start_from(trunk)
    torch.testing.assert_close(head(x), trunk(x))


def test_a_pose_head_takes_the_later_layers_alone_where_the_first_differ() -> None:
    trunk = Deconvolved()
    options = heads.options_for("conv-pose", torch.zeros(2, 5, 4, 4), torch.zeros(2, 3, 16, 16), "block")
    head = heads.build("conv-pose", {**options, "hidden": 8})
    assert isinstance(head, ConvPose)
    first = head.layers[0].state_dict()["conv.weight"].clone()
    head.start_from(trunk)
    torch.testing.assert_close(head.layers[1].state_dict()["conv.weight"], trunk.deconvolutions[6].weight)
    torch.testing.assert_close(head.output.weight, trunk.final.weight)
    torch.testing.assert_close(head.layers[0].state_dict()["conv.weight"], first)


def test_a_trunk_without_deconvolutions_leaves_the_head_as_it_is() -> None:
    head = heads.build("conv-pose", {"in_channels": 4, "joints": 3, "size": [8, 8], "ups": 1, "hidden": 8})
    before = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    head.start_from(nn.Sequential(nn.Conv2d(8, 3, 1)))
    for name, tensor in head.state_dict().items():
        torch.testing.assert_close(tensor, before[name])
