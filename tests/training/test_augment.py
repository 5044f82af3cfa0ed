from __future__ import annotations

import torch

from etbac.training.augment import flip_and_crop, resize


def test_a_resized_picture_has_the_size() -> None:
    assert resize(torch.zeros(2, 1, 28, 28), 0.75).shape == (2, 1, 21, 21)


def test_a_shifted_picture_is_the_picture_shifted() -> None:
    torch.manual_seed(0)
    picture = torch.arange(36.0).reshape(1, 1, 6, 6)
    seen = flip_and_crop(picture.repeat(200, 1, 1, 1), 1)
    padded = torch.nn.functional.pad(picture, (1, 1, 1, 1), mode="replicate")
    possible = {
        tuple(side[0, 0, y : y + 6, x : x + 6].flatten().tolist())
        for side in (padded, padded.flip(3))
        for y in range(3)
        for x in range(3)
    }
    assert {tuple(one.flatten().tolist()) for one in seen} == possible
