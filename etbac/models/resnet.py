"""Residual networks: the CIFAR family (6n+2 layers, basic blocks) and the ImageNet family (18 to 152 layers).

Source: He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016 (section 4.2 for the CIFAR form,
table 1 for the ImageNet form).
"""

from __future__ import annotations

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut: [B, C, H, W] -> [B, channels, H ÷ stride, W ÷ stride]."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        result: Tensor = self.relu(out + self.downsample(x))
        return result


class Bottleneck(nn.Module):
    """1×1, 3×3 (with the stride) and 1×1 convolutions: [B, C, H, W] -> [B, 4 × channels, H ÷ stride, W ÷ stride]."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int, dilation: int = 1) -> None:
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        result: Tensor = self.relu(out + self.downsample(x))
        return result


class ResNetTrunk(nn.Module):
    """Stem and stages of blocks: `maps` takes float32 [B, in_channels, H, W] to the last stage's feature maps.

    `depths` and `widths` have one entry a stage; the first stage keeps the resolution, each later one halves it, but
    for the last `dilated` ones, which spread their 3×3 convolutions instead (Yu & Koltun, ICLR 2016). `large_stem` is
    the ImageNet stem (7×7 with stride 2, max pool), otherwise one 3×3 convolution. `channels`: of the maps.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: tuple[int, ...],
        widths: tuple[int, ...],
        in_channels: int,
        large_stem: bool,
        dilated: int = 0,
    ) -> None:
        super().__init__()
        self.conv1 = (
            nn.Conv2d(in_channels, widths[0], 7, 2, padding=3, bias=False)
            if large_stem
            else nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False)
        )
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if large_stem else nn.Identity()
        channels = widths[0]
        self.stages = len(depths)
        dilation = 1
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True), start=1):
            blocks: list[nn.Module] = []
            for index in range(depth):
                spread = stage > len(depths) - dilated
                stride = 2 if stage > 1 and index == 0 and not spread else 1
                blocks.append(block(channels, width, stride, dilation))
                channels = width * block.expansion
                if spread and index == 0:
                    dilation *= 2
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.channels = channels

    def maps(self, image: Tensor) -> Tensor:
        """Feature maps [B, channels, H ÷ 2^k, W ÷ 2^k]."""
        x: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        for stage in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        return x


class ResNet(ResNetTrunk):
    """The trunk, average pool, classifier: float32 [B, in_channels, H, W] -> logits [B, num_classes]."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: tuple[int, ...],
        widths: tuple[int, ...],
        in_channels: int,
        num_classes: int,
        large_stem: bool,
    ) -> None:
        super().__init__(block, depths, widths, in_channels, large_stem)
        self.fc = nn.Linear(self.channels, num_classes)
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.maps(image).mean(dim=(2, 3)))
        return logits


def cifar_resnet(depth: int, in_channels: int = 3, num_classes: int = 10, width: int = 16) -> ResNet:
    """A CIFAR-style ResNet of 6n+2 layers: three stages of n basic blocks with `width`, 2 and 4 × `width` channels."""
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"a CIFAR-style ResNet has 6n+2 layers (8, 14, 20, …), not {depth}")
    blocks = (depth - 2) // 6
    return ResNet(BasicBlock, (blocks,) * 3, (width, 2 * width, 4 * width), in_channels, num_classes, large_stem=False)


def imagenet_resnet(depth: int, in_channels: int = 3, num_classes: int = 1000, width: int = 64) -> ResNet:
    """An ImageNet-style ResNet of 18, 34 (basic blocks), 50, 101 or 152 (bottlenecks) layers."""
    return ResNet(*imagenet_form(depth, width), in_channels, num_classes, large_stem=True)


def imagenet_form(
    depth: int, width: int
) -> tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...], tuple[int, ...]]:
    """Block, depths and widths of the stages of an ImageNet-style ResNet."""
    depths = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
    if depth not in depths:
        raise ValueError(f"an ImageNet-style ResNet has {', '.join(map(str, depths))} layers, not {depth}")
    return BasicBlock if depth < 50 else Bottleneck, depths[depth], (width, 2 * width, 4 * width, 8 * width)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


def initialise(network: nn.Module) -> None:
    """Draw the convolutions' weights (He et al., ICCV 2015)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
