"""Small networks that the zoo needs and the product does not: each for one thing that is hard to cut."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class UNet(nn.Module):
    """float32 [B, 3, H, W] -> logits [B, classes, H, W]; each level of the encoder is read again by the decoder.

    Source: Ronneberger, Fischer, Brox: U-Net, MICCAI 2015, with batch normalisation and padding.
    """

    def __init__(self, width: int = 32, depth: int = 4, classes: int = 5) -> None:
        super().__init__()
        widths = [width << level for level in range(depth + 1)]
        self.down = nn.ModuleList(_two_convolutions(a, b) for a, b in zip([3, *widths[:-1]], widths, strict=True))
        self.resize = nn.ModuleList(nn.Upsample(scale_factor=2) for _ in range(depth))
        self.up = nn.ModuleList(_two_convolutions(a + b, a) for a, b in zip(widths[-2::-1], widths[:0:-1], strict=True))
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        x, skips = image, []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for resize, block, skip in zip(self.resize, self.up, skips[-2::-1], strict=True):
            x = block(torch.cat([skip, resize(x)], dim=1))
        logits: Tensor = self.classify(x)
        return logits


class DenseLayer(nn.Module):
    """Give what came in and `growth` channels more."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], dim=1)


class DenseNet(nn.Module):
    """DenseNet-121: float32 [B, 3, H, W] -> logits [B, classes].

    Source: Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks, CVPR 2017.
    """

    def __init__(self, depths: tuple[int, ...] = (6, 12, 24, 16), growth: int = 32, classes: int = 100) -> None:
        super().__init__()
        channels = 2 * growth
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 7, 2, 3, bias=False), nn.MaxPool2d(3, 2, 1)]
        for stage, depth in enumerate(depths):
            if stage:
                layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels // 2, 1), nn.AvgPool2d(2)]
                channels //= 2
            for _ in range(depth):
                layers.append(DenseLayer(channels, growth))
                channels += growth
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.classifier(torch.relu(self.features(image)).mean(dim=(2, 3)))
        return logits


class GroupNormBlock(nn.Module):
    """A residual block with group normalisation (Wu & He, ECCV 2018)."""

    def __init__(self, channels: int, groups: int = 8) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(groups, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(1, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.silu(x + self.body(x))


class GroupNormNet(nn.Module):
    """float32 [B, 3, H, W] -> logits [B, classes]."""

    def __init__(self, channels: int = 64, depth: int = 8, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, 2, padding=1)
        self.blocks = nn.Sequential(*(GroupNormBlock(channels) for _ in range(depth)))
        self.classifier = nn.Linear(channels, classes)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.blocks(self.stem(image)).mean(dim=(2, 3)))
        return logits


class RecurrentLayer(nn.Module):
    """A bidirectional LSTM and a residual connection: [T, B, C] -> [T, B, C]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width // 2, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        hidden, _ = self.lstm(x)
        return x + hidden  # type: ignore[no-any-return]


class RecurrentNet(nn.Module):
    """Token ids int64 [B, T] -> {"exit_<layer>", "prediction"}: logits [B, classes]; time first inside."""

    def __init__(self, vocabulary: int = 1000, width: int = 128, depth: int = 4, classes: int = 6) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(RecurrentLayer(width) for _ in range(depth))
        self.heads = nn.ModuleList(nn.Linear(width, classes) for _ in range(depth))

    def forward(self, input_ids: Tensor) -> dict[str, Tensor]:
        x, logits = self.embedding(input_ids).transpose(0, 1), []
        for layer, head in zip(self.layers, self.heads, strict=True):
            x = layer(x)
            logits.append(head(x.mean(dim=0)))
        return {**{f"exit_{i}": each for i, each in enumerate(logits[:-1], start=1)}, "prediction": logits[-1]}


def _two_convolutions(channels: int, width: int) -> nn.Sequential:
    steps: list[nn.Module] = []
    for read in (channels, width):
        steps += [nn.Conv2d(read, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*steps)
