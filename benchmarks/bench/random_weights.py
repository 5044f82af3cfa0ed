"""ResNet-50 at 224², with random weights: what it answers means nothing, what it costs is what a trained one costs."""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from benchmarks.backends.subjects import compiled
from benchmarks.bench.options import FOLDER, MAX_BATCH
from benchmarks.bench.subject import Spec, Subject, calibration, first, limits_of
from benchmarks.results.row import QUICK
from benchmarks.zoo import subject as zoo
from etbac.compiler import EngineOptions
from etbac.frontend.torch_export import from_module
from etbac.models.attach import ExitNetwork, attach_exits
from etbac.models.resnet import imagenet_resnet
from etbac.runtime.chain import Chain
from etbac.runtime.selection import portable, select

EXITS = (3, 7, 13)
SIDE = 224
WIDTH = 16 if QUICK else 64
SAMPLES = 32 if QUICK else 128
NORMALISED = 16
"""Pictures that batch normalisation takes its statistics from."""
WHY = "random weights: no accuracy that it could keep"


def resnet50() -> Spec:
    return Spec(
        "ResNet-50",
        f"random weights, {SIDE}², exits after blocks {', '.join(map(str, EXITS))}; a quarter of the samples is made "
        "to leave at each exit, a quarter goes to the end" + ("; a quarter of its width (QUICK)" if QUICK else ""),
        prepare=lambda: "seed 0",
        open=opened,
        seconds={16: 2} if QUICK else {1: 60, 4: 60, 16: 100, 64: 200},
        is_real=False,
        compiles=not QUICK,
    )


def opened(stack: ExitStack) -> Subject:
    pictures = _pictures()
    network = _network(pictures)
    exported = from_module(network, {"image": pictures[: zoo.EXPORTED]}, {"path": "ResNet-50"})
    inputs = {"image": pictures.numpy()}
    engines = EngineOptions(dtype="int8", calibration=first(calibration(inputs), NORMALISED))
    made = zoo.Subject(exported, first(inputs, zoo.ROWS))
    directory = compiled(FOLDER / "bench" / "resnet50", made, EXITS, engines, MAX_BATCH)
    chain = stack.enter_context(Chain(directory, portable(directory)))
    narrow = stack.enter_context(Chain(directory, select(directory, dtype="int8")))
    return Subject(
        exported=exported,
        network=network,
        chain=chain,
        narrow=narrow,
        limits=limits_of(chain, inputs),
        narrow_limits=limits_of(narrow, inputs),
        inputs=inputs,
        labels=None,
        judged=SAMPLES,
        calibration=first(inputs, NORMALISED),
        cut=WHY,
        smaller=WHY,
    )


def _pictures() -> Tensor:
    """Noise of very different contrast, so that samples differ in how sure the exits are."""
    random = torch.Generator().manual_seed(0)
    contrast = torch.exp(2 * torch.rand(SAMPLES, 1, 1, 1, generator=random) - 1)
    return contrast * torch.randn(SAMPLES, 3, SIDE, SIDE, generator=random)


def _network(pictures: Tensor) -> ExitNetwork:
    """Batch normalisation has the statistics of these pictures: without, numbers grow from block to block until every
    exit is as sure as float32 can say."""
    torch.manual_seed(0)
    network = attach_exits(
        imagenet_resnet(50, width=WIDTH), at=list(EXITS), example_inputs={"image": pictures[: zoo.EXPORTED]}
    )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(image=pictures[:NORMALISED])
    return network.eval()
