"""Key points on a residual network.

Source: Xiao, Wu & Wei: Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018. The layers have the names of
the paper's own checkpoints.
"""

from __future__ import annotations

from torch import Tensor, nn

from etbac.models.resnet import ResNetTrunk, imagenet_form, initialise

DECONVOLUTIONS = 3


class PoseResNet(ResNetTrunk):
    """Three 4×4 deconvolutions with stride 2 and a 1×1 convolution on a residual network without its classifier:
    float32 [B, in_channels, H, W] -> heatmaps [B, joints, H ÷ 4, W ÷ 4]. `deconv_width`: of the deconvolutions."""

    def __init__(self, depth: int, in_channels: int, joints: int, width: int, deconv_width: int) -> None:
        super().__init__(*imagenet_form(depth, width), in_channels, large_stem=True)
        layers: list[nn.Module] = []
        for before in (self.channels, *[deconv_width] * (DECONVOLUTIONS - 1)):
            layers.append(nn.ConvTranspose2d(before, deconv_width, 4, 2, padding=1, bias=False))
            layers += [nn.BatchNorm2d(deconv_width), nn.ReLU(inplace=True)]
        self.deconv_layers = nn.Sequential(*layers)
        self.final_layer = nn.Conv2d(deconv_width, joints, 1)
        initialise(self)
        for module in (*self.deconv_layers, self.final_layer):
            if isinstance(module, (nn.ConvTranspose2d, nn.Conv2d)):
                nn.init.normal_(module.weight, std=0.001)

    def forward(self, image: Tensor) -> Tensor:
        heatmaps: Tensor = self.final_layer(self.deconv_layers(self.maps(image)))
        return heatmaps


def pose_resnet(
    depth: int, in_channels: int = 3, joints: int = 16, width: int = 64, deconv_width: int = 256
) -> PoseResNet:
    """The simple baseline on a ResNet of 18, 34, 50, 101 or 152 layers."""
    return PoseResNet(depth, in_channels, joints, width, deconv_width)
