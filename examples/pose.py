"""Exits on a network that finds a person's joints. Run: python examples/pose.py FOLDER [EPOCHS]

FOLDER: MPII as published, or anything in its form: images/, annot/train.json, annot/valid.json, annot/gt_valid.mat.
"""

import sys

import etbac
from etbac.metrics.joints import STRIDE, positions
from etbac.models.data.mpii import JOINTS
from etbac.training import ExitOptions, TrunkOptions

if __name__ == "__main__":
    folder, epochs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 8
    trained = etbac.train(
        "pose-resnet18",
        "pose",
        data=folder,
        preprocessing={"height": 96, "width": 96},
        model_options={"width": 16},
        exits=[6, 7],
        head_options={"hidden": 48},
        trunk=TrunkOptions.of("pose", epochs=epochs, learning_rate=3e-3),
        heads=ExitOptions(batch_size=32, learning_rate=4e-3),
        out="pose.pt",
    )
    # A certificate takes thousands of pictures: without it, the plan of the search set is written all the same.
    found = etbac.optimize("pose.pt", "pose", precision=0.9968, uncertified=True, budget_s=3, batches=50)
    print(f"exits {found.plan.exits}, mean latency ÷ the full model's: {found.figures['ratio']:.2f}")
    people = trained.data.load("test", trained.preprocessing)
    with etbac.load("pose") as chain:
        answer = chain.run({name: pictures[:4] for name, pictures in people.inputs.items()})
    for left, places in zip(answer.exit_id, positions(answer.prediction) * STRIDE, strict=True):
        found_at = ", ".join(f"{name} {x:.0f} {y:.0f}" for name, (x, y) in zip(JOINTS, places, strict=True))
        print(f"left at {left}: {found_at}")
