"""EfficientNet-Lite, with the names of the package efficientnet-lite-pytorch, whose weights are ImageNet's.

Source: Tan & Le: EfficientNet, ICML 2019 (table 1), in the Lite form of tensorflow/tpu (efficientnet/lite): no
squeeze-and-excitation, ReLU6, and stem and head of one width.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, kernel, stride of the first block, expansion and channels of each stage of Lite0."""
SIZES = ((1.0, 1.0, 0.2), (1.0, 1.1, 0.2), (1.1, 1.2, 0.3), (1.2, 1.4, 0.3), (1.4, 1.8, 0.3))
"""What widths and depths are multiplied with, and the dropout, of Lite0 to Lite4."""
STEM, HEAD = 32, 1280


class SamePaddedConv(nn.Conv2d):
    """As TensorFlow pads: to ⌈size ÷ stride⌉, the odd pixel to the right and below."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(in_channels, channels, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        padding: list[int] = []
        for side in (x.shape[3], x.shape[2]):
            missing = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
            padding += [missing // 2, missing - missing // 2]
        return super().forward(nn.functional.pad(x, padding) if any(padding) else x)


class MBConvBlock(nn.Module):
    """1×1 to more channels, a depthwise convolution, 1×1 to fewer; added to the input where shapes agree."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = in_channels * expansion
        self.expands, self.adds = expansion > 1, stride == 1 and in_channels == channels
        if self.expands:
            self._expand_conv = SamePaddedConv(in_channels, inner, 1)
            self._bn0 = _norm(inner)
        self._depthwise_conv = SamePaddedConv(inner, inner, kernel, stride, groups=inner)
        self._bn1 = _norm(inner)
        self._project_conv = SamePaddedConv(inner, channels, 1)
        self._bn2 = _norm(channels)
        self._relu = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        out = self._relu(self._bn0(self._expand_conv(x))) if self.expands else x
        out = self._relu(self._bn1(self._depthwise_conv(out)))
        projected: Tensor = self._bn2(self._project_conv(out))
        return x + projected if self.adds else projected


class EfficientNetLite(nn.Module):
    """float32 [B, in_channels, H, W] -> logits [B, num_classes]."""

    def __init__(self, width: float, depth: float, dropout: float, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self._conv_stem = SamePaddedConv(in_channels, STEM, 3, 2)
        self._bn0 = _norm(STEM)
        blocks: list[nn.Module] = []
        before = STEM
        for place, (repeats, kernel, stride, expansion, channels) in enumerate(STAGES):
            inside = 0 < place < len(STAGES) - 1  # the first and the last stage are never deeper
            for block in range(math.ceil(repeats * depth) if inside else repeats):
                after = _rounded(channels * width)
                blocks.append(MBConvBlock(before, after, kernel, stride if block == 0 else 1, expansion))
                before = after
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = SamePaddedConv(before, HEAD, 1)
        self._bn1 = _norm(HEAD)
        self._relu = nn.ReLU6()
        self._dropout = nn.Dropout(dropout)
        self._fc = nn.Linear(HEAD, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        x: Tensor = self._relu(self._bn0(self._conv_stem(image)))
        for block in self._blocks:
            x = block(x)
        x = self._relu(self._bn1(self._conv_head(x)))
        logits: Tensor = self._fc(self._dropout(x.mean(dim=(2, 3))))
        return logits


def efficientnet_lite(size: int, in_channels: int = 3, num_classes: int = 1000) -> EfficientNetLite:
    """EfficientNet-Lite0 to Lite4."""
    return EfficientNetLite(*SIZES[size], in_channels, num_classes)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def _rounded(channels: float) -> int:
    """To a multiple of 8 that is at least nine tenths."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
