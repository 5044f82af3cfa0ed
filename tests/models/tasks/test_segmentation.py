from __future__ import annotations

import torch
from torch import nn

from etbac.models import tasks


def test_pixels_of_255_are_not_counted() -> None:
    task, prediction = tasks.get("segmentation"), torch.randn(2, 3, 4, 4)
    masks = torch.randint(0, 3, (2, 4, 4))
    masks[0, :2] = 255
    by_pixel = nn.functional.cross_entropy(prediction, masks.clamp(max=2), reduction="none")
    expected = (by_pixel[0, 2:].mean() + by_pixel[1].mean()) / 2
    torch.testing.assert_close(task.loss(prediction, masks), expected)
    masks[:] = 255
    assert task.loss(prediction, masks) == 0


def test_a_larger_mask_is_read_in_the_middle_of_each_cell() -> None:
    small = torch.randint(0, 3, (2, 4, 4))
    large = small.repeat_interleave(4, 1).repeat_interleave(4, 2)
    task, prediction = tasks.get("segmentation"), torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(task.loss(prediction, large), task.loss(prediction, small))
