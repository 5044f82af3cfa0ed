"""The names that other libraries give to the tensors of networks that there are here, or in transformers.

Names as in the sources of torchvision (torchvision/models/{resnet,vgg,vision_transformer,swin_transformer}.py), timm
(timm/models/{vision_transformer,swin_transformer}.py), the Swin paper's own checkpoints (which timm's loader renames)
and transformers 5 (models/{resnet,vit,swin}/modeling_*.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from re import Match
from typing import TypeAlias

from torch import Tensor

from etbac.models.vgg import CONFIGURATION_D

To: TypeAlias = "str | Callable[[Match[str]], str]"

QKV = "{qkv}"
"""In a new name: the tensor is cut in three along axis 0, and they are named with q, k and v here."""


@dataclass(frozen=True)
class Form:
    """How one library names a kind of network and what is to become of that: (pattern of a name's start, new start)."""

    name: str
    rules: tuple[tuple[str, To], ...]

    def renamed(self, state: Mapping[str, Tensor]) -> dict[str, tuple[str, Tensor]]:
        """New name -> (name in the file, tensor); names that no rule knows stay."""
        found: dict[str, tuple[str, Tensor]] = {}
        for name, tensor in state.items():
            new = self._new(name)
            if QKV not in new:
                found[new] = (name, tensor)
                continue
            for part, piece in zip("qkv", tensor.chunk(3), strict=False):
                found[new.replace(QKV, part)] = (name, piece)
        return found

    def _new(self, name: str) -> str:
        for pattern, to in self.rules:
            new, count = re.subn(f"^{pattern}", to, name)
            if count:
                return new
        return name


def _shifted(by: int, template: str, *groups: int) -> Callable[[Match[str]], str]:
    """`template` with the match's groups as {1}, {2}, …; to those that are named `by` is added: others count from 1."""

    def to(match: Match[str]) -> str:
        texts = ["", *(text or "" for text in match.groups())]
        return template.format(*(str(int(text) + by) if i in groups else text for i, text in enumerate(texts)))

    return to


def _vgg_rules(norm: bool) -> tuple[tuple[str, To], ...]:
    """Layers of one long sequence -> blocks of a convolution and, with `norm`, its normalisation."""
    rules: list[tuple[str, To]] = []
    named = (0, 1) if norm else (0,)
    place = block = 0
    for _, depth in CONFIGURATION_D:
        for _ in range(depth):
            rules += [(rf"features\.{place + part}\.", f"features.{block}.{part}.") for part in named]
            place, block = place + len(named) + 1, block + 1
        place += 1
    return tuple(rules)


_LAYER = r"layer(\d)\.(\d+)\."
_STAGE = "resnet.encoder.stages.{1}.layers.{2}."
RESNET_TO_TRANSFORMERS = Form(
    "ResNet of torchvision or timm",
    (
        (r"conv1\.", "resnet.embedder.embedder.convolution."),
        (r"bn1\.", "resnet.embedder.embedder.normalization."),
        (_LAYER + r"conv(\d)\.", _shifted(-1, _STAGE + "layer.{3}.convolution.", 1, 3)),
        (_LAYER + r"bn(\d)\.", _shifted(-1, _STAGE + "layer.{3}.normalization.", 1, 3)),
        (_LAYER + r"downsample\.0\.", _shifted(-1, _STAGE + "shortcut.convolution.", 1)),
        (_LAYER + r"downsample\.1\.", _shifted(-1, _STAGE + "shortcut.normalization.", 1)),
        (r"fc\.", "classifier.1."),
    ),
)
_FROM_STAGE = r"(?:resnet\.)?encoder\.stages\.(\d)\.layers\.(\d+)\."
RESNET_FROM_TRANSFORMERS = Form(
    "ResNet of transformers",
    (
        (r"(?:resnet\.)?embedder\.embedder\.convolution\.", "conv1."),
        (r"(?:resnet\.)?embedder\.embedder\.normalization\.", "bn1."),
        (_FROM_STAGE + r"layer\.(\d)\.convolution\.", _shifted(1, "layer{1}.{2}.conv{3}.", 1, 3)),
        (_FROM_STAGE + r"layer\.(\d)\.normalization\.", _shifted(1, "layer{1}.{2}.bn{3}.", 1, 3)),
        (_FROM_STAGE + r"shortcut\.convolution\.", _shifted(1, "layer{1}.{2}.downsample.0.", 1)),
        (_FROM_STAGE + r"shortcut\.normalization\.", _shifted(1, "layer{1}.{2}.downsample.1.", 1)),
        (r"classifier\.1\.", "fc."),
    ),
)
VGG_WITH_NORM = Form("VGG16 with batch normalisation of torchvision", _vgg_rules(norm=True))
VGG = Form("VGG16 of torchvision", _vgg_rules(norm=False))
_VIT = r"vit.layers.\1."
_TORCHVISION_VIT = r"encoder\.layers\.encoder_layer_(\d+)\."
VIT_OF_TORCHVISION = Form(
    "ViT of torchvision",
    (
        (r"class_token$", "vit.embeddings.cls_token"),
        (r"encoder\.pos_embedding$", "vit.embeddings.position_embeddings"),
        (r"conv_proj\.", "vit.embeddings.patch_embeddings.projection."),
        (_TORCHVISION_VIT + r"ln_1\.", _VIT + "layernorm_before."),
        (_TORCHVISION_VIT + r"ln_2\.", _VIT + "layernorm_after."),
        (_TORCHVISION_VIT + r"self_attention\.in_proj_", _VIT + f"attention.{QKV}_proj."),
        (_TORCHVISION_VIT + r"self_attention\.out_proj\.", _VIT + "attention.o_proj."),
        (_TORCHVISION_VIT + r"mlp\.(?:0|linear_1)\.", _VIT + "mlp.fc1."),
        (_TORCHVISION_VIT + r"mlp\.(?:3|linear_2)\.", _VIT + "mlp.fc2."),
        (r"encoder\.ln\.", "vit.layernorm."),
        (r"heads\.head\.", "classifier."),
    ),
)
_TIMM_VIT = r"blocks\.(\d+)\."
VIT_OF_TIMM = Form(
    "ViT of timm",
    (
        (r"cls_token$", "vit.embeddings.cls_token"),
        (r"pos_embed$", "vit.embeddings.position_embeddings"),
        (r"patch_embed\.proj\.", "vit.embeddings.patch_embeddings.projection."),
        (_TIMM_VIT + r"norm1\.", _VIT + "layernorm_before."),
        (_TIMM_VIT + r"norm2\.", _VIT + "layernorm_after."),
        (_TIMM_VIT + r"attn\.qkv\.", _VIT + f"attention.{QKV}_proj."),
        (_TIMM_VIT + r"attn\.proj\.", _VIT + "attention.o_proj."),
        (_TIMM_VIT + r"mlp\.", _VIT + "mlp."),
        (r"norm\.", "vit.layernorm."),
        (r"head\.", "classifier."),
    ),
)


def _swin_block(start: str, stage: Callable[[Match[str]], int], fc1: str, fc2: str) -> tuple[tuple[str, To], ...]:
    """Rules for one Swin block, whose names start with `start`: its groups 1 and 2 are stage and block."""
    parts = (
        (r"norm1\.", "layernorm_before."),
        (r"norm2\.", "layernorm_after."),
        (r"attn\.qkv\.", f"attention.{QKV}_proj."),
        (r"attn\.proj\.", "attention.o_proj."),
        (r"attn\.relative_position_bias_table", "attention.relative_position_bias.relative_position_bias_table"),
        (rf"mlp\.{fc1}\.", "mlp.fc1."),
        (rf"mlp\.{fc2}\.", "mlp.fc2."),
    )

    def to(end: str) -> Callable[[Match[str]], str]:
        return lambda match: f"swin.encoder.layers.{stage(match)}.blocks.{match[2]}.{end}"

    return tuple((start + pattern, to(end)) for pattern, end in parts)


def _swin_ends(embedding: str, norm: str) -> tuple[tuple[str, To], ...]:
    return (
        (embedding, "swin.embeddings.patch_embeddings.projection."),
        (norm, "swin.embeddings.norm."),
        (r"norm\.", "swin.layernorm."),
        (r"head\.(?:fc\.)?", "classifier."),
    )


def _swin_of_timm(name: str, merged_after: int) -> Form:
    """`merged_after`: how many stages before the one that names it a merging of patches stands in transformers."""
    return Form(
        name,
        (
            *_swin_block(r"layers\.(\d+)\.blocks\.(\d+)\.", lambda match: int(match[1]), "fc1", "fc2"),
            (
                r"layers\.(\d+)\.downsample\.",
                lambda match: f"swin.encoder.layers.{int(match[1]) - merged_after}.downsample.",
            ),
            *_swin_ends(r"patch_embed\.proj\.", r"patch_embed\.norm\."),
        ),
    )


SWIN_OF_TIMM = _swin_of_timm("Swin of timm", 1)
SWIN_OF_THE_PAPER = _swin_of_timm("Swin of the paper's checkpoints", 0)
SWIN_OF_TORCHVISION = Form(
    "Swin of torchvision",
    (
        *_swin_ends(r"features\.0\.0\.", r"features\.0\.2\."),
        *_swin_block(r"features\.(\d+)\.(\d+)\.", lambda match: (int(match[1]) - 1) // 2, "0", "3"),
        (
            r"features\.(\d+)\.(?=norm|reduction)",
            lambda match: f"swin.encoder.layers.{int(match[1]) // 2 - 1}.downsample.",
        ),
    ),
)
AS_IT_IS = Form("the network's own names", ())
FORMS = (
    AS_IT_IS,
    RESNET_TO_TRANSFORMERS,
    RESNET_FROM_TRANSFORMERS,
    VGG_WITH_NORM,
    VGG,
    VIT_OF_TORCHVISION,
    VIT_OF_TIMM,
    SWIN_OF_TIMM,
    SWIN_OF_THE_PAPER,
    SWIN_OF_TORCHVISION,
)
