"""Exits on a network that labels every pixel. Run: python examples/segmentation.py FOLDER [EPOCHS]

FOLDER: images/<unit>/<name>.jpg and masks/<unit>/<name>.png of one size, and classes.txt; pictures of one unit (a thing
cut out, a patient) stay in one set.
"""

import sys
from pathlib import Path

import etbac
from etbac.runtime.sources import open_source
from etbac.training import ExitOptions, TrunkOptions

if __name__ == "__main__":
    folder, epochs = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 8
    etbac.train(
        "deeplab-resnet18",
        "segmentation",
        data=folder,
        loader="image-mask",
        data_options={"unit": "folder"},
        preprocessing={"height": 96, "width": 96},
        model_options={"width": 16, "head_width": 32, "num_classes": 2},
        exits=[4, 6],
        head_options={"hidden": 32},
        trunk=TrunkOptions.of("segmentation", epochs=epochs, learning_rate=3e-3),
        heads=ExitOptions(batch_size=32, learning_rate=4e-3),
        out="segmentation.pt",
    )
    # mIoU is no mean over pictures: a bootstrap estimates it, and nothing is certified.
    found = etbac.optimize(
        "segmentation.pt", "segmentation", precision=0.9968, uncertified=True, budget_s=3, batches=50
    )
    print(f"exits {found.plan.exits}, mean latency ÷ the full model's: {found.figures['ratio']:.2f}")
    unit = next((folder / "images").iterdir())
    with etbac.load("segmentation") as chain:
        for batch in open_source(chain.engine_dir, unit).batches(chain.manifest.max_batch):
            answer = chain.run(batch)
            masks = answer.prediction.argmax(axis=1)
            print(f"{unit.name}: left at {answer.exit_id.tolist()}; thing's share {(masks == 1).mean((1, 2)).round(2)}")
