"""VGG16, with or without batch normalisation, with the paper's classifier or a single layer.

Source: Simonyan & Zisserman, ICLR 2015 (configuration D); one linear layer in place of the three is usual on CIFAR.
"""

from __future__ import annotations

from torch import Tensor, nn

CONFIGURATION_D = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""(channels, convolutions) of each stage; a 2×2 max pool follows each."""


class ConvBlock(nn.Sequential):
    """3×3 convolution, batch normalisation (if `norm`), ReLU and, at the end of a stage, a 2×2 max pool."""

    def __init__(self, in_channels: int, channels: int, pool: bool, norm: bool) -> None:
        layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, 3, padding=1)]
        layers += [nn.BatchNorm2d(channels)] if norm else []
        super().__init__(*layers, nn.ReLU(inplace=True), *([nn.MaxPool2d(2)] if pool else []))


class VGG(nn.Module):
    """float32 [B, in_channels, image_size, image_size] -> logits [B, num_classes]."""

    def __init__(self, in_channels: int, num_classes: int, image_size: int, norm: bool, hidden: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        channels, size = in_channels, image_size
        for width, depth in CONFIGURATION_D:
            for index in range(depth):
                pool = index == depth - 1 and size >= 2
                blocks.append(ConvBlock(channels, width, pool, norm))
                channels = width
            size = max(size // 2, 1)
        self.features = nn.Sequential(*blocks)
        self.dropout = nn.Identity() if hidden else nn.Dropout(0.5)
        self.classifier = _classifier(channels * size * size, hidden, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.dropout(self.features(image).flatten(1)))
        return logits


def _classifier(features: int, hidden: int, num_classes: int) -> nn.Module:
    if not hidden:
        return nn.Linear(features, num_classes)
    layers: list[nn.Module] = []
    for width in (features, hidden):
        layers += [nn.Linear(width, hidden), nn.ReLU(inplace=True), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Linear(hidden, num_classes))


def vgg16(in_channels: int = 3, num_classes: int = 10, image_size: int = 32, norm: bool = True, hidden: int = 0) -> VGG:
    """VGG16, sized by the input; pools are left out once the map is one pixel.

    `norm`: batch normalisation. `hidden`: width of the classifier's two hidden layers (the paper's: 4096), 0 for none.
    """
    return VGG(in_channels, num_classes, image_size, norm, hidden)
