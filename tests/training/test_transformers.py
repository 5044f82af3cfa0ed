"""Exits on tiny networks of transformers, trained for every task as `etbac train` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import tiny_transformers as tiny
from support.published import image_folder, image_mask, mpii, texts, wav_folder

from etbac.models import checkpoint as checkpoints
from etbac.training import ExitOptions, TrunkOptions, train

FORMS: dict[str, dict[str, Any]] = {
    "classification": {"loader": "image-folder", "preprocessing": {"height": 16, "width": 16}},
    "segmentation": {"loader": "image-mask", "preprocessing": {"height": 64, "width": 64}},
    "pose": {"loader": "mpii", "preprocessing": {"height": 32, "width": 24}},
    "speech": {"loader": "wav-folder", "preprocessing": {"rate": 8_000, "length": 400}},
    "text": {"loader": "text-file", "preprocessing": {"max_length": 8}},
}
WRITERS = {
    "classification": image_folder.write,
    "segmentation": lambda folder: image_mask.write(folder, 40),
    "pose": lambda folder: mpii.write(folder, train=40, valid=4),
    "speech": wav_folder.write,
    "text": texts.write,
}
ARCHITECTURES = (
    *("ViTForImageClassification", "SwinForImageClassification"),
    *("SegformerForSemanticSegmentation", "UperNetForSemanticSegmentation", "VitPoseForPoseEstimation"),
    *("HubertForSequenceClassification", "Wav2Vec2ForSequenceClassification"),
    *("RobertaForSequenceClassification", "DistilBertForSequenceClassification"),
)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_network_of_transformers_is_trained_with_exits(architecture: str, tmp_path: Path) -> None:
    task = tiny.task(architecture)
    WRITERS[task](tmp_path / "data")
    config = {name: value for name, value in tiny.CONFIGS[architecture].items() if name != "num_labels"}
    form = FORMS[task]
    if task == "text":
        form = {**form, "preprocessing": {**form["preprocessing"], "tokenizer": texts.write_vocabulary(tmp_path)}}
        config["vocab_size"] = 200
    found = train(
        "transformers",
        task,
        out=tmp_path / "model.pt",
        data=tmp_path / "data",
        model_options={"architecture": architecture, "config": config},
        exits=[1],
        trunk=TrunkOptions.of(task, epochs=1, batch_size=8, learning_rate=1e-3),
        heads=ExitOptions(epochs=1, batch_size=8),
        head_options={"hidden": 8},
        **form,
    )
    assert set(found.record["test"]) == {"exit_1", "prediction"}
    assert found.network.exits[0].module == tiny.BLOCKS[architecture][0]
    loaded = checkpoints.load(tmp_path / "model.pt")
    assert loaded.full_sha256 == found.full_sha256
