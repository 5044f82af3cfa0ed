"""Networks of the package transformers, by class and configuration; nothing is downloaded and no other code is run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etbac.errors import InputError, MissingPackageError, UsageError

if TYPE_CHECKING:
    from torch import nn

ARCHITECTURES: Mapping[str, str] = {
    "bert": "BertForSequenceClassification",
    "distilbert": "DistilBertForSequenceClassification",
    "hubert": "HubertForSequenceClassification",
    "resnet": "ResNetForImageClassification",
    "roberta": "RobertaForSequenceClassification",
    "segformer": "SegformerForSemanticSegmentation",
    "swin": "SwinForImageClassification",
    "upernet": "UperNetForSemanticSegmentation",
    "vit": "ViTForImageClassification",
    "vitpose": "VitPoseForPoseEstimation",
    "wav2vec2": "Wav2Vec2ForSequenceClassification",
}
"""The class for each `model_type` of a configuration. Only these are made: a checkpoint, which may come from anybody,
names one of them."""
BACKBONES = ("resnet", "swin", "vitpose_backbone")
BACKBONE = "backbone_config"
LABELS = ("num_labels", "id2label", "label2id", "problem_type")
OUTPUTS = ("out_features", "out_indices")


def transformers(architecture: str, config: Mapping[str, Any] | None = None) -> nn.Module:
    """The network of a class in ARCHITECTURES with random weights: `config` holds options of its configuration.

    Its forward takes inputs by the names that transformers has for them (input_ids, attention_mask, pixel_values,
    input_values). Raises UsageError for another class, or an option that its configuration does not have.
    """
    package = _package()
    model_types = {name: model_type for model_type, name in ARCHITECTURES.items()}
    if architecture not in model_types:
        raise UsageError(f"architecture {architecture!r} is not one of {', '.join(model_types)}")
    kind = getattr(package, architecture)
    options = _options(kind.config_class, config or {}, architecture)
    if architecture == ARCHITECTURES["upernet"]:
        options.setdefault("use_auxiliary_head", False)
    network: nn.Module = kind(kind.config_class(**options))
    return network


def read_folder(folder: Path, architecture: str | None = None, **options: Any) -> dict[str, Any]:
    """What `transformers` takes to make the network that a folder's `config.json` describes.

    `architecture`: left out, the class that belongs to the configuration's model type. `options`: more options of the
    configuration, such as num_labels, which replace the folder's. Raises InputError for a folder that has no
    configuration, UsageError for one of another kind of network. Its weights are read by `weights.load_weights`.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise InputError(f"{folder} has no config.json; name a folder that transformers' save_pretrained wrote")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file} is not JSON ({error})") from error
    if not isinstance(found, dict) or found.get("model_type") not in ARCHITECTURES:
        said = found.get("model_type") if isinstance(found, dict) else None
        raise UsageError(f"{file} is of the model type {said!r}; there are {', '.join(ARCHITECTURES)}")
    name = architecture or ARCHITECTURES[found["model_type"]]
    if "num_labels" in options:
        found = {key: value for key, value in found.items() if key not in LABELS}
    return {"architecture": name, "config": {**_known(found, found["model_type"]), **options}}


def _known(config: Mapping[str, Any], model_type: str) -> dict[str, Any]:
    """Those of a file's options that say what the network is; others (versions, generation) are left out."""
    own = _names(_config_class(model_type))
    kept = {key: value for key, value in config.items() if key in own and value is not None}
    backbone = kept.get(BACKBONE)
    if isinstance(backbone, Mapping) and backbone.get("model_type") in BACKBONES:
        kept[BACKBONE] = {**_known(backbone, backbone["model_type"]), "model_type": backbone["model_type"]}
    return kept


def _options(kind: Any, config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The options as the configuration's class takes them; a UsageError for one that it does not have."""
    names = _names(kind)
    unknown = [name for name in config if name not in names]
    if unknown:
        raise UsageError(f"{where} has no option {unknown[0]!r}; it has {', '.join(sorted(names))}")
    options = dict(config)
    if isinstance(options.get(BACKBONE), Mapping):
        inner = dict(options[BACKBONE])
        model_type = inner.pop("model_type", None)
        if model_type not in BACKBONES:
            raise UsageError(
                f"{where}: {BACKBONE} is of the model type {model_type!r}; there are {', '.join(BACKBONES)}"
            )
        inner_kind = _config_class(model_type)
        options[BACKBONE] = inner_kind(**_options(inner_kind, inner, f"{where}'s {BACKBONE}"))
    return options


def _names(kind: Any) -> set[str]:
    """The options that are the configuration's own: none of those by which transformers loads code or weights."""
    base = {field.name for field in fields(_package().PreTrainedConfig)}
    own = {field.name for field in fields(kind) if not field.name.startswith("_")} - base
    return {*own, *LABELS, *OUTPUTS} - {"backbone", "use_pretrained_backbone", "use_timm_backbone", "backbone_kwargs"}


def _config_class(model_type: str) -> Any:
    return type(_package().AutoConfig.for_model(model_type))


def _package() -> Any:
    try:
        import transformers as package
    except ImportError:
        raise MissingPackageError(
            "this network is one of transformers', which is not installed; install it with: pip install 'etbac[train]'"
        ) from None
    return package
