"""All models of the zoo by name. A builder's module is imported in the row's own process."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from benchmarks.zoo.subject import Subject

Builder: TypeAlias = "Callable[[Path], Subject]"


@dataclass(frozen=True)
class Entry:
    """`builder`: `module:function` in this package. `quick`: among the few of `QUICK=1`. `refusal`: words of the
    message with which this model must be refused. `smaller`: the boundary must be below the naive cut's somewhere."""

    name: str
    builder: str
    quick: bool = False
    refusal: str | None = None
    smaller: bool = False

    def load(self) -> Builder:
        """Import what makes the model: a function of a folder for files."""
        module, _, function = self.builder.partition(":")
        build = getattr(import_module(f"benchmarks.zoo.{module}"), function)
        if inspect.signature(build).parameters:
            return build  # type: ignore[no-any-return]
        return lambda folder: build()


RANK_FOLLOWS_SAMPLES = "/decoder/If': its branches give results of different or unknown rank"
"""silero-vad drops an axis inside an `If` when the number of samples, which its file leaves open, leaves one step."""

ENTRIES = (
    Entry("EfficientNet-Lite0", "package_models:efficientnet_lite0"),
    Entry("MiniLM", "package_models:minilm", quick=True, smaller=True),
    Entry("MiniLM, any length", "package_models:minilm_any_length", smaller=True),
    Entry("ResNet-50 (transformers)", "transformers_models:resnet50"),
    Entry("ViT-base", "transformers_models:vit"),
    Entry("Swin-tiny", "transformers_models:swin", smaller=True),
    Entry("BERT-base", "transformers_models:bert_base", smaller=True),
    Entry("RoBERTa-base", "transformers_models:roberta_base", smaller=True),
    Entry("Segformer-b0", "transformers_models:segformer"),
    Entry("ViTPose-base", "transformers_models:vitpose"),
    Entry("Wav2Vec2-base", "transformers_models:wav2vec2"),
    Entry("ResNet-32", "project_models:resnet32", quick=True),
    Entry("ResNet-50", "project_models:resnet50"),
    Entry("ResNet-101", "project_models:resnet101"),
    Entry("VGG16", "project_models:vgg16"),
    Entry("U-Net", "project_models:unet", quick=True, smaller=True),
    Entry("DenseNet-121", "project_models:densenet"),
    Entry("GroupNorm", "project_models:group_norm", quick=True),
    Entry("bidirectional LSTM", "project_models:lstm", quick=True),
    Entry("If", "file_models:with_if", quick=True),
    Entry("ensemble of exits", "project_models:ensemble", quick=True),
    Entry("2.4 GB of weights", "file_models:large"),
    Entry("silero-vad", "package_models:silero_vad", quick=True, refusal=RANK_FOLLOWS_SAMPLES),
)

BY_NAME: Mapping[str, Entry] = {entry.name: entry for entry in ENTRIES}
