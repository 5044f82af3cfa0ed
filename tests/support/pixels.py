"""A small segmentation model with one exit: every pixel of a picture is one of three classes.

`image` float32 [batch, 7, 4, 4]: three channels of class scores, one that says how hard the picture is (from 0 to 1),
and three of noise. The full model answers the scores; the exit's get lost in noise, and small, the harder a picture is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from support.even_profile import write_even_profile
from support.onnx_text import parse

import etbac
from etbac.passes.gates.pixels import Pixels

GRAPH = """(float[batch, 7, 4, 4] image)
=> (float[batch, 3, 4, 4] exit_1, float[batch, 3, 4, 4] prediction)
{
    scores = Conv (image, take_scores)
    hard = Conv (image, take_hard)
    noise = Conv (image, take_noise)
    lost = Mul (hard, scores)
    left = Sub (scores, lost)
    added = Mul (hard, noise)
    exit_1 = Add (left, added)
    prediction = Conv (scores, same)
}"""
SIDE = 8
"""Of the masks: twice the predictions'."""


def pixel_engines(folder: Path, max_batch: int = 8) -> Path:
    """The model compiled, with the gate `pixels`, and profiled: leaving at the exit saves most of the time."""
    model = parse(GRAPH)
    eye = np.eye(7, dtype=np.float32)[:, :, None, None]
    weights = {"take_scores": eye[:3], "take_hard": eye[3:4], "take_noise": eye[4:], "same": eye[:3, :3]}
    for name, values in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    onnx.save(model, folder / "pixels.onnx")
    engines = etbac.compile(folder / "pixels.onnx", folder / "engines", gates={1: Pixels(t=0.5)}, max_batch=max_batch)
    write_even_profile(engines.path)
    return engines.path


def pixel_data(path: Path, rows: int = 3_000, wrong: float = 0.1) -> Path:
    """Pictures, and masks of which the full model gets a share of `wrong` wrong; the border is not counted."""
    rng = np.random.default_rng(0)
    scores, noise = 3 * rng.standard_normal((2, rows, 3, 4, 4))
    hard = np.broadcast_to(rng.beta(0.5, 2, (rows, 1, 1, 1)), (rows, 1, 4, 4))
    masks = scores.argmax(axis=1).repeat(2, axis=1).repeat(2, axis=2)
    other = rng.random(masks.shape) < wrong
    masks[other] = (masks[other] + 1) % 3
    masks[:, 0] = 255
    np.savez(path, image=np.concatenate([scores, hard, 0.3 * noise], axis=1).astype(np.float32), labels=masks)
    return path
