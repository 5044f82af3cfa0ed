"""Exits on a speech encoder, from scratch. Run: python examples/speech.py FOLDER [EPOCHS]

FOLDER: <label>/**/*.wav; files of one name, as a prompt that several voices say, stay in one set.
"""

import sys
from pathlib import Path

import etbac
from etbac.engine_dir import EngineDir
from etbac.runtime.sources import open_source
from etbac.training import TrunkOptions

LAYERS = {"hidden_size": 64, "num_hidden_layers": 6, "num_attention_heads": 4, "intermediate_size": 128}
SOUND = {"conv_dim": [32] * 5, "conv_stride": [5, 4, 2, 2, 2], "conv_kernel": [10, 8, 4, 4, 4]}
REST = {"num_conv_pos_embeddings": 32, "num_conv_pos_embedding_groups": 4, "classifier_proj_size": 64}

if __name__ == "__main__":
    folder, epochs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20
    config = {**LAYERS, **SOUND, **REST, "apply_spec_augment": False}
    trained = etbac.train(
        "transformers",
        "speech",
        data=folder,
        loader="wav-folder",
        data_options={"unit": "stem"},
        preprocessing={"rate": 8_000, "length": 16_000},
        model_options={"architecture": "Wav2Vec2ForSequenceClassification", "config": config},
        exits="all",
        trunk=TrunkOptions.of("speech", epochs=epochs, learning_rate=1e-3),
        out="speech.pt",
    )
    found = etbac.optimize("speech.pt", "speech", precision=0.9968, uncertified=True, budget_s=3, batches=50)
    print(f"exits {found.plan.exits}, mean latency ÷ the full model's: {found.figures['ratio']:.2f}")
    labels = trained.data.open(trained.preprocessing).class_names
    source = open_source(EngineDir.open("speech"), Path(folder, labels[0]))
    with etbac.load("speech") as chain:
        answer = chain.run(next(source.batches(8)))
    for name, left, scores in zip(source.names, answer.exit_id, answer.prediction, strict=False):
        print(f"{name}: left at {left}, {labels[scores.argmax()]}")
