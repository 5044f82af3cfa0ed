"""Segmentation on a residual network.

Source: Chen, Papandreou, Schroff & Adam: Rethinking Atrous Convolution for Semantic Image Segmentation (DeepLabV3),
2017.
The layers have the names that torchvision's checkpoints have.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from etbac.models.resnet import ResNetTrunk, imagenet_form, initialise

RATES = (12, 24, 36)
"""Dilations of the pyramid where the features have an eighth of the picture's size."""


def _conv(in_channels: int, channels: int, kernel: int = 1, dilation: int = 1) -> list[nn.Module]:
    """A convolution that keeps the size, batch normalisation, ReLU."""
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(in_channels, channels, kernel, padding=padding, dilation=dilation, bias=False)
    return [conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


class _Mean(nn.Module):
    """The mean over the picture, [B, C, 1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)


class Pyramid(nn.Module):
    """The same maps seen at several distances, side by side: [B, C, h, w] -> [B, width, h, w]."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        near = nn.Sequential(*_conv(in_channels, width))
        spread = [nn.Sequential(*_conv(in_channels, width, 3, rate)) for rate in RATES]
        whole = nn.Sequential(_Mean(), *_conv(in_channels, width))
        self.convs = nn.ModuleList([near, *spread, whole])
        self.project = nn.Sequential(*_conv(len(self.convs) * width, width), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        *maps, whole = [conv(x) for conv in self.convs]
        joined: Tensor = self.project(torch.cat([*maps, whole.expand(-1, -1, x.shape[2], x.shape[3])], dim=1))
        return joined


class DeepLab(nn.Module):
    """float32 [B, in_channels, H, W] -> logits [B, num_classes, H ÷ 4, W ÷ 4].

    The trunk's last two stages keep an eighth of the size; `head_width` is the pyramid's.
    """

    def __init__(self, depth: int, in_channels: int, num_classes: int, width: int, head_width: int) -> None:
        super().__init__()
        self.backbone = ResNetTrunk(*imagenet_form(depth, width), in_channels, large_stem=True, dilated=2)
        self.classifier = nn.Sequential(
            Pyramid(self.backbone.channels, head_width),
            *_conv(head_width, head_width, 3),
            nn.Conv2d(head_width, num_classes, 1),
        )
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        logits = self.classifier(self.backbone.maps(image))
        return nn.functional.interpolate(logits, (image.shape[2] // 4, image.shape[3] // 4), mode="bilinear")


def deeplab(depth: int, in_channels: int = 3, num_classes: int = 19, width: int = 64, head_width: int = 256) -> DeepLab:
    """DeepLabV3 on a ResNet of 18, 34, 50 or 101 layers; 19 classes as Cityscapes has."""
    return DeepLab(depth, in_channels, num_classes, width, head_width)
