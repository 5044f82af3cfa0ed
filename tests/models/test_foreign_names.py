"""Other libraries' state dicts, with the names that they have there, placed in networks of this package and of
transformers. The names are those of the sources that etbac/models/foreign_names.py names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import tiny_transformers as tiny
from support.state_dicts import randomised, require_same, saved, shaken
from torch import Tensor, nn

from etbac.models import registry
from etbac.models.resnet import imagenet_resnet
from etbac.models.weights import load_weights

WIDE = {"embedding_size": 8, "hidden_sizes": [8, 16, 32, 64], "num_labels": 5}
BASIC = {**WIDE, "layer_type": "basic", "depths": [2, 2, 2, 2]}
BOTTLENECK = {**WIDE, "hidden_sizes": [32, 64, 128, 256], "layer_type": "bottleneck", "depths": [3, 4, 6, 3]}


@pytest.mark.parametrize(("depth", "config"), [(18, BASIC), (50, BOTTLENECK)])
def test_a_resnet_of_torchvision_goes_to_transformers_and_back(
    depth: int, config: dict[str, object], tmp_path: Path
) -> None:
    """Our ResNet has torchvision's names, so its state dict is one of torchvision's."""
    ours = shaken(imagenet_resnet(depth, num_classes=5, width=8))
    theirs = tiny.make("ResNetForImageClassification", **config)
    report = load_weights(theirs, saved(ours.state_dict(), tmp_path))
    assert report.complete
    assert not report.left_over
    assert report.form == "ResNet of torchvision or timm"
    image = torch.randn(2, 3, 64, 64)
    require_same(theirs, ours, image)
    again = imagenet_resnet(depth, num_classes=5, width=8).eval()
    assert load_weights(again, saved(theirs.state_dict(), tmp_path)).complete
    require_same(again, ours, image)


def test_names_of_torchvisions_resnet_are_ours() -> None:
    names = set(imagenet_resnet(50).state_dict())
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.downsample.0.weight", "layer4.2.bn3.bias", "fc.bias"} <= names


@pytest.mark.parametrize("network", ["pose-resnet18", "deeplab-resnet18"])
def test_a_classifier_of_torchvision_becomes_a_trunk(network: str, tmp_path: Path) -> None:
    classifier = shaken(imagenet_resnet(18, width=8))
    trunk = registry.factory(network)(width=8)
    report = load_weights(trunk, saved(classifier.state_dict(), tmp_path))
    assert report.left_over == ("fc.bias", "fc.weight")
    assert {name.split(".")[0] for name in report.missing} <= {"deconv_layers", "final_layer", "classifier"}
    inner = trunk.backbone if network.startswith("deeplab") else trunk
    torch.testing.assert_close(inner.layer4[1].conv2.weight, classifier.layer4[1].conv2.weight)  # type: ignore[union-attr,index]


class TorchvisionVgg16(nn.Module):
    """torchvision's vgg16 or vgg16_bn by its names, of pictures of 32²."""

    def __init__(self, norm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in (64, 64, "pool", 128, 128, "pool", *(3 * (256,)), "pool", *(2 * (*(3 * (512,)), "pool"))):
            if isinstance(width, str):
                layers.append(nn.MaxPool2d(2, 2))
                continue
            layers += [nn.Conv2d(channels, width, 3, padding=1), *([nn.BatchNorm2d(width)] if norm else []), nn.ReLU()]
            channels = width
        self.features = nn.Sequential(*layers)
        inner = [nn.ReLU(), nn.Dropout(), nn.Linear(8, 8), nn.ReLU(), nn.Dropout()]
        self.classifier = nn.Sequential(nn.Linear(512, 8), *inner, nn.Linear(8, 5))

    def forward(self, image: Tensor) -> Tensor:
        return self.classifier(self.features(image).flatten(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("norm", [True, False])
def test_vgg16_of_torchvision(norm: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = TorchvisionVgg16(norm).eval()
    for name, tensor in theirs.state_dict().items():
        if name.endswith(("bias", "running_mean", "running_var")):
            tensor.copy_(torch.rand(tensor.shape) * 0.5 + 0.25)
    assert ("features.40.weight" if norm else "features.28.weight") in theirs.state_dict()
    ours = registry.factory("vgg16")(num_classes=5, norm=norm, hidden=8).eval()
    report = load_weights(ours, saved(theirs.state_dict(), tmp_path))
    assert report.complete
    assert not report.left_over
    require_same(ours, theirs, torch.randn(2, 3, 32, 32))


class Block(nn.Module):
    """A layer of torchvision's ViT, by its names."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.self_attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Dropout(0), nn.Linear(inner, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.self_attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))  # type: ignore[no-any-return]


class VisionTransformer(nn.Module):
    """torchvision's ViT in small, by its names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_proj = nn.Conv2d(3, 16, 4, 4)
        self.class_token = nn.Parameter(torch.zeros(1, 1, 16))
        self.encoder = nn.Module()
        self.encoder.pos_embedding = nn.Parameter(torch.zeros(1, 17, 16))
        self.encoder.layers = nn.Sequential()
        for layer in range(3):
            self.encoder.layers.add_module(f"encoder_layer_{layer}", Block(16, 24))
        self.encoder.ln = nn.LayerNorm(16)
        self.heads = nn.Sequential()
        self.heads.add_module("head", nn.Linear(16, 5))

    def forward(self, image: Tensor) -> Tensor:
        patches = self.conv_proj(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(image), -1, -1), patches], 1) + self.encoder.pos_embedding
        return self.heads(self.encoder.ln(self.encoder.layers(x))[:, 0])  # type: ignore[no-any-return,operator]


def test_vit_of_torchvision(tmp_path: Path) -> None:
    theirs, ours = randomised(VisionTransformer()), tiny.make("ViTForImageClassification", layer_norm_eps=1e-5)
    report = load_weights(ours, saved(theirs.state_dict(), tmp_path))
    assert report.complete
    assert not report.left_over
    require_same(ours, theirs, torch.randn(2, 3, 16, 16))


def joined(state: dict[str, Tensor], attention: str, kind: str) -> Tensor:
    return torch.cat([state[f"{attention}.{part}_proj.{kind}"] for part in "qkv"])


def test_vit_of_timm(tmp_path: Path) -> None:
    first = randomised(tiny.make("ViTForImageClassification"))
    own = first.state_dict()
    plain = {
        "cls_token": "vit.embeddings.cls_token",
        "pos_embed": "vit.embeddings.position_embeddings",
        **{f"patch_embed.proj.{kind}": f"vit.embeddings.patch_embeddings.projection.{kind}" for kind in KINDS},
        **{f"norm.{kind}": f"vit.layernorm.{kind}" for kind in KINDS},
        **{f"head.{kind}": f"classifier.{kind}" for kind in KINDS},
    }
    state = {name: own[source] for name, source in plain.items()}
    for layer in range(3):
        here, there = f"vit.layers.{layer}", f"blocks.{layer}"
        for kind in KINDS:
            state[f"{there}.norm1.{kind}"] = own[f"{here}.layernorm_before.{kind}"]
            state[f"{there}.norm2.{kind}"] = own[f"{here}.layernorm_after.{kind}"]
            state[f"{there}.attn.qkv.{kind}"] = joined(own, f"{here}.attention", kind)
            state[f"{there}.attn.proj.{kind}"] = own[f"{here}.attention.o_proj.{kind}"]
            state[f"{there}.mlp.fc1.{kind}"] = own[f"{here}.mlp.fc1.{kind}"]
            state[f"{there}.mlp.fc2.{kind}"] = own[f"{here}.mlp.fc2.{kind}"]
    require_placed("ViTForImageClassification", first, state, tmp_path)


KINDS = ("weight", "bias")
TIMM_SWIN = {
    "start": ("patch_embed.proj", "patch_embed.norm"),
    "blocks": ("layers.0.blocks", "layers.1.blocks"),
    "merging": "layers.1.downsample",
    "mlp": ("fc1", "fc2"),
    "head": "head.fc",
}
SWIN_NAMES = {
    "torchvision": {
        "start": ("features.0.0", "features.0.2"),
        "blocks": ("features.1", "features.3"),
        "merging": "features.2",
        "mlp": ("0", "3"),
        "head": "head",
    },
    "timm": TIMM_SWIN,
    "paper": {**TIMM_SWIN, "merging": "layers.0.downsample", "head": "head"},
}


@pytest.mark.parametrize("library", SWIN_NAMES)
def test_swin(library: str, tmp_path: Path) -> None:
    first, names = randomised(tiny.make("SwinForImageClassification")), SWIN_NAMES[library]
    own = first.state_dict()
    state = {f"{names['merging']}.reduction.weight": own["swin.encoder.layers.0.downsample.reduction.weight"]}
    for kind in KINDS:
        state[f"{names['start'][0]}.{kind}"] = own[f"swin.embeddings.patch_embeddings.projection.{kind}"]
        state[f"{names['start'][1]}.{kind}"] = own[f"swin.embeddings.norm.{kind}"]
        state[f"{names['merging']}.norm.{kind}"] = own[f"swin.encoder.layers.0.downsample.norm.{kind}"]
        state[f"norm.{kind}"] = own[f"swin.layernorm.{kind}"]
        state[f"{names['head']}.{kind}"] = own[f"classifier.{kind}"]
    for stage in range(2):
        for block in range(2):
            here, there = f"swin.encoder.layers.{stage}.blocks.{block}", f"{names['blocks'][stage]}.{block}"
            bias = "relative_position_bias_table"
            state[f"{there}.attn.{bias}"] = own[f"{here}.attention.relative_position_bias.{bias}"]
            state[f"{there}.attn.relative_position_index"] = torch.arange(16)
            for kind in KINDS:
                state[f"{there}.norm1.{kind}"] = own[f"{here}.layernorm_before.{kind}"]
                state[f"{there}.norm2.{kind}"] = own[f"{here}.layernorm_after.{kind}"]
                state[f"{there}.attn.qkv.{kind}"] = joined(own, f"{here}.attention", kind)
                state[f"{there}.attn.proj.{kind}"] = own[f"{here}.attention.o_proj.{kind}"]
                for number, name in enumerate(names["mlp"], start=1):
                    state[f"{there}.mlp.{name}.{kind}"] = own[f"{here}.mlp.fc{number}.{kind}"]
    require_placed("SwinForImageClassification", first, state, tmp_path)


def require_placed(architecture: str, first: nn.Module, state: dict[str, Tensor], folder: Path) -> None:
    """All of the file is placed, the network lacks nothing, and it answers as the one that the tensors are of."""
    other = tiny.make(architecture)
    report = load_weights(other, saved(state, folder))
    assert report.complete
    assert not report.left_over
    assert set(report.placed) == set(first.state_dict())
    require_same(other, first, tiny.inputs(architecture)["pixel_values"])


def old_vit_name(name: str) -> str:
    """What transformers 4 called a ViT's tensor, as the published checkpoints do."""
    for new, old in (
        ("vit.layers.", "vit.encoder.layer."),
        ("attention.q_proj", "attention.attention.query"),
        ("attention.k_proj", "attention.attention.key"),
        ("attention.v_proj", "attention.attention.value"),
        ("attention.o_proj", "attention.output.dense"),
        ("mlp.fc1", "intermediate.dense"),
        ("mlp.fc2", "output.dense"),
    ):
        name = name.replace(new, old)
    return name


def test_older_names_of_transformers_are_its_own_affair(tmp_path: Path) -> None:
    name = "ViTForImageClassification"
    first = randomised(tiny.make(name))
    require_placed(name, first, {old_vit_name(key): value for key, value in first.state_dict().items()}, tmp_path)
