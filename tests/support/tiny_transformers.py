"""Networks of transformers that are small enough for tests, and two rows of inputs for each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from etbac.models.hub import transformers

LAYERS = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
SOUND = {
    **LAYERS,
    "conv_dim": [8, 8],
    "conv_stride": [4, 4],
    "conv_kernel": [8, 4],
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 8,
    "num_labels": 4,
}
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 2, 2], "layer_type": "basic"}
CONFIGS: dict[str, dict[str, Any]] = {
    "BertForSequenceClassification": {**LAYERS, "vocab_size": 30},
    "RobertaForSequenceClassification": {**LAYERS, "vocab_size": 30, "max_position_embeddings": 20},
    "DistilBertForSequenceClassification": {"vocab_size": 30, "dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 24},
    "ViTForImageClassification": {**LAYERS, "image_size": 16, "patch_size": 4, "num_labels": 5},
    "SwinForImageClassification": {
        "image_size": 16,
        "patch_size": 2,
        "embed_dim": 8,
        "depths": [2, 2],
        "num_heads": [2, 2],
        "window_size": 2,
        "num_labels": 5,
    },
    "ResNetForImageClassification": {**RESNET, "num_labels": 5},
    "SegformerForSemanticSegmentation": {
        "depths": [2, 2, 1, 1],
        "hidden_sizes": [8, 8, 16, 16],
        "num_attention_heads": [1, 2, 2, 2],
        "decoder_hidden_size": 8,
        "num_labels": 3,
    },
    "UperNetForSemanticSegmentation": {
        "backbone_config": {
            **RESNET,
            "model_type": "resnet",
            "out_features": ["stage1", "stage2", "stage3", "stage4"],
        },
        "hidden_size": 16,
        "pool_scales": [1, 2],
        "num_labels": 3,
    },
    "VitPoseForPoseEstimation": {
        "backbone_config": {
            **{name: value for name, value in LAYERS.items() if name != "intermediate_size"},
            "model_type": "vitpose_backbone",
            "image_size": [32, 24],
            "patch_size": [8, 8],
            "out_indices": [3],
        },
        "num_labels": 4,
        "scale_factor": 2,
    },
    "Wav2Vec2ForSequenceClassification": SOUND,
    "HubertForSequenceClassification": SOUND,
}
TASKS = {
    "Bert": "text",
    "Roberta": "text",
    "DistilBert": "text",
    "Segformer": "segmentation",
    "UperNet": "segmentation",
    "VitPose": "pose",
    "Wav2Vec2": "speech",
    "Hubert": "speech",
}
BLOCKS = {
    "BertForSequenceClassification": [f"bert.encoder.layer.{layer}" for layer in range(3)],
    "RobertaForSequenceClassification": [f"roberta.encoder.layer.{layer}" for layer in range(3)],
    "DistilBertForSequenceClassification": [f"distilbert.transformer.layer.{layer}" for layer in range(3)],
    "ViTForImageClassification": [f"vit.layers.{layer}" for layer in range(3)],
    "SwinForImageClassification": [f"swin.encoder.layers.{at}.blocks.{block}" for at in range(2) for block in range(2)],
    "ResNetForImageClassification": [
        f"resnet.encoder.stages.{stage}.layers.{layer}"
        for stage, depth in enumerate((1, 1, 2, 2))
        for layer in range(depth)
    ],
    "SegformerForSemanticSegmentation": [
        f"segformer.stages.{stage}.blocks.{block}" for stage, depth in enumerate((2, 2, 1, 1)) for block in range(depth)
    ],
    "UperNetForSemanticSegmentation": [
        f"backbone.encoder.stages.{stage}.layers.{layer}"
        for stage, depth in enumerate((1, 1, 2, 2))
        for layer in range(depth)
    ],
    "VitPoseForPoseEstimation": [f"backbone.encoder.layer.{layer}" for layer in range(3)],
    "Wav2Vec2ForSequenceClassification": [f"wav2vec2.encoder.layers.{layer}" for layer in range(3)],
    "HubertForSequenceClassification": [f"hubert.encoder.layers.{layer}" for layer in range(3)],
}


def make(architecture: str, **options: Any) -> nn.Module:
    """The network in evaluation mode, with weights that matter."""
    torch.manual_seed(0)
    network = transformers(architecture, {**CONFIGS[architecture], **options}).eval()
    for parameter in network.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_normal_(parameter)
    return network


def task(architecture: str) -> str:
    return TASKS.get(architecture.partition("For")[0], "classification")


def inputs(architecture: str, rows: int = 2, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    kind = task(architecture)
    if kind == "text":
        mask = (torch.arange(6) < torch.randint(2, 7, (rows, 1), generator=generator)).long()
        return {"input_ids": torch.randint(3, 30, (rows, 6), generator=generator), "attention_mask": mask}
    if kind == "speech":
        return {"input_values": torch.randn(rows, 400, generator=generator)}
    size = {"VitPose": (32, 24), "ViT": (16, 16), "Swin": (16, 16)}.get(architecture.partition("For")[0], (64, 64))
    return {"pixel_values": torch.randn(rows, 3, *size, generator=generator)}
