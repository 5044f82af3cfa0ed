"""Telephone prompts in five languages, a folder for each: which language is spoken."""

from __future__ import annotations

import json
import os
from pathlib import Path

from benchmarks.data import unpack
from benchmarks.results.row import Row

LANGUAGES = ("en", "es", "fr", "it", "ru")
SMALL_WAV2VEC2 = {
    "hidden_size": 128,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "conv_dim": [64, 64, 64, 64, 64],
    "conv_stride": [5, 4, 2, 2, 2],
    "conv_kernel": [10, 8, 4, 4, 4],
    "num_conv_pos_embeddings": 32,
    "num_conv_pos_embedding_groups": 4,
    "classifier_proj_size": 64,
    "apply_spec_augment": False,
}


def row() -> Row:
    model = {"architecture": "Wav2Vec2ForSequenceClassification", "config": SMALL_WAV2VEC2}
    return Row(
        "speech",
        "speech",
        "language of telephone prompts, a small Wav2Vec2 from scratch",
        link_prompts,
        (
            *("--loader", "wav-folder", "--data-option", "unit=stem", "--exits", "all"),
            *("--preprocess", "rate=8000", "--preprocess", "length=16000"),
            *("--model", "transformers", "--model-options", json.dumps(model), "--learning-rate", "1e-3"),
        ),
        ("--epochs", "20"),
        short="the convolutions, which all samples go through, take much of the time. Half as many channels there gave "
        "a worse full model, and were not taken",
        uncertified="about 560 prompts are too few independent units",
    )


def link_prompts(folder: Path, cache: Path = Path("data/asterisk")) -> None:
    """Links by language to the wav files of the Debian packages asterisk-core-sounds-<language>-wav, of which each
    prompt has the same name in all languages; SystemExit where they can't be had."""
    for language in LANGUAGES:
        source = cache / language
        if not source.is_dir():
            unpack(f"asterisk-core-sounds-{language}-wav", source)
        for path in sorted(source.rglob("*.wav")):
            if path.stat().st_size > 2_000:  # shorter ones are beeps and silence
                target = folder / language / "-".join(path.relative_to(source).parts[-2:])
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(path, target)
