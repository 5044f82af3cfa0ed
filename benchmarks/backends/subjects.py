"""The models that backends are measured on, compiled once into `results/backends/`."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
import transformers as tf

from benchmarks import data
from benchmarks.zoo import package_models
from benchmarks.zoo.subject import Subject, images, token_ids, with_attached_exits
from etbac.compiler import CompileOptions, EngineOptions, write_chain
from etbac.compiler.compile import MAX_BATCH
from etbac.compiler.engines import build_engines
from etbac.engine_dir import EngineDir, Writer
from etbac.frontend.load import load_model
from etbac.models.checkpoint import load, load_set
from etbac.models.resnet import imagenet_resnet

FOLDER = Path("results/backends")
DEMO = Path("resnet.pt")
"""Of `make demo`, where it has run."""
OWN_DEMO = FOLDER / "resnet.pt"
TRAINING = ("--epochs", "3", "--scales", "0.5,0.5,1", "--exit-epochs", "1", "--exits", "1,3,7,12")
CALIBRATION = 128


def resnet50(exits: Sequence[int] = (3, 7, 13), int8: bool = False) -> EngineDir:
    """ResNet-50 at 224², random weights."""
    subject = _resnet50()
    engines = EngineOptions(dtype="int8", calibration=subject.samples) if int8 else EngineOptions()
    return compiled(FOLDER / f"resnet50-{len(exits)}", subject, exits, engines)


def resnet50_offline(exits: Sequence[int]) -> EngineDir:
    """The same, optimised offline."""
    return compiled(FOLDER / f"resnet50-{len(exits)}-offline", _resnet50(), exits, EngineOptions(offline=True))


@functools.cache
def _resnet50() -> Subject:
    torch.manual_seed(0)
    return with_attached_exits(imagenet_resnet(50), {"image": images(3, 224, 224)}, at=[3, 7, 10, 13])


def bert_base() -> EngineDir:
    """BERT-base at 128 tokens, random weights, three exits."""
    torch.manual_seed(0)
    model = tf.BertForSequenceClassification(tf.BertConfig())
    subject = with_attached_exits(model, token_ids(30522, 128), at=[3, 6, 9])
    return compiled(FOLDER / "bert", subject, (3, 6, 9), EngineOptions())


def minilm() -> EngineDir:
    """MiniLM with its weights at 32 tokens, three exits as they are attached."""
    return compiled(FOLDER / "minilm", package_models.minilm(), (1, 3, 5), EngineOptions())


def demo(int8: bool = False) -> EngineDir:
    """The demo's network with trained weights: of `make demo`, otherwise trained for a few minutes here."""
    path = demo_checkpoint()
    checkpoint = load(path)
    samples = {name: array[:16] for name, array in load_set(checkpoint, "test").inputs.items()}
    engines = EngineOptions()
    if int8:
        fit = load_set(checkpoint, "fit").inputs
        engines = EngineOptions(dtype="int8", calibration={name: array[:CALIBRATION] for name, array in fit.items()})
    return compiled(FOLDER / "demo", Subject(load_model(path), samples), (3, 7, 12), engines)


def demo_checkpoint() -> Path:
    if DEMO.exists():
        return DEMO
    if not OWN_DEMO.exists():
        folder = str(data.fashion_mnist())
        command = ["train", "classification", *TRAINING, "--data", folder, "--out", str(OWN_DEMO)]
        FOLDER.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "etbac", *command], check=True)
    return OWN_DEMO


def compiled(
    path: Path, subject: Subject, exits: Sequence[int], engines: EngineOptions, max_batch: int = MAX_BATCH
) -> EngineDir:
    """Not verified here: what is measured is compared where it is measured, and at these sizes it takes minutes."""
    options = CompileOptions(exits=exits, samples=subject.samples, engines=engines, max_batch=max_batch)
    with Writer(path) as writer:
        written = write_chain(writer, subject.exit_model.copy(), subject.samples or {}, options)
        manifest = written.manifest
        if not engines.are_portable:
            name, _ = build_engines(writer, written.sources, written.segments, options.max_batch, engines)
            manifest = replace(manifest, engines=name)
        return writer.commit(manifest)
