from __future__ import annotations

import pytest
import torch
from torch import nn

from etbac.errors import UnsupportedModelError
from etbac.models import tasks
from etbac.models.tasks.pose import gaussian_maps


def test_a_heatmap_is_highest_at_the_joint() -> None:
    joints = torch.tensor([[[40.0, 12.0, 1, 9], [0, 60, 1, 9]]])
    maps, counted = gaussian_maps(joints, (16, 16))
    assert [divmod(int(place), 16) for place in maps.flatten(2).argmax(2)[0]] == [(3, 10), (15, 0)]
    torch.testing.assert_close(maps.amax((2, 3)), torch.ones(1, 2))
    torch.testing.assert_close(counted, torch.ones(1, 2))


@pytest.mark.parametrize(("side", "sigma"), [(64, 2.0), (96, 3.0), (16, 1.0)])
def test_sigma_is_that_of_the_paper_at_its_two_sizes(side: int, sigma: float) -> None:
    maps, _ = gaussian_maps(torch.tensor([[[4.0 * 8, 4.0 * 8, 1, 9]]]), (side, side))
    torch.testing.assert_close(maps[0, 0, 8, 9], torch.exp(torch.tensor(-1 / (2 * sigma**2))))


@pytest.mark.parametrize("joint", [[8.0, 8.0, 0, 9], [70.0, 8.0, 1, 9], [8.0, -9.0, 1, 9]])
def test_joints_that_are_unseen_or_outside_are_not_learned(joint: list[float]) -> None:
    prediction = torch.randn(1, 2, 16, 16, requires_grad=True)
    tasks.get("pose").loss(prediction, torch.tensor([[joint, [20.0, 20.0, 1, 9]]])).backward()
    assert prediction.grad is not None
    assert prediction.grad[0, 0].abs().max() == 0
    assert prediction.grad[0, 1].abs().max() > 0


def test_pictures_of_another_size_than_four_times_the_heatmaps_are_refused() -> None:
    task, heatmaps = tasks.get("pose"), torch.zeros(1, 2, 16, 12)
    task.check(heatmaps, {"image": torch.zeros(1, 3, 64, 48)})
    with pytest.raises(UnsupportedModelError, match=r"16×12 to 32×24; pose needs pictures.*64×48"):
        task.check(heatmaps, {"image": torch.zeros(1, 3, 32, 24)})


def test_most_joints_must_be_sure() -> None:
    task = tasks.get("pose")
    assert task.gate_for(("batch", 16, 64, 64)) == "keypoints:m=9"
    assert task.gate_for(("batch", 4, 64, 64)) == "keypoints:m=3"


def test_a_head_has_the_trunks_width_where_it_can_begin_with_the_trunks_layers() -> None:
    trunk = nn.Sequential(nn.ConvTranspose2d(6, 24, 4, 2), nn.ConvTranspose2d(24, 24, 4, 2), nn.Conv2d(24, 2, 1))
    task, heatmaps = tasks.get("pose"), torch.zeros(1, 2, 16, 16)
    fits = task.head_for(torch.zeros(1, 6, 4, 4), heatmaps, "block", trunk)[1]
    other = task.head_for(torch.zeros(1, 5, 4, 4), heatmaps, "block", trunk)[1]
    assert fits["hidden"] == 24
    assert "hidden" not in other
