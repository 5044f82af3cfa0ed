"""Networks trained on real data, with the plans that certify them: ResNet-32 on pictures, MiniLM on texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import baselines, data, demo
from benchmarks.backends.subjects import compiled, demo_checkpoint
from benchmarks.bench.options import FOLDER, MAX_BATCH
from benchmarks.bench.subject import Answer, Limits, Spec, Subject, calibration, first, limits_of
from benchmarks.results import texts
from benchmarks.results.make import PRECISION, trained
from benchmarks.results.row import FOLDER as TASKS
from benchmarks.results.row import QUICK
from benchmarks.zoo.store import source_hash
from benchmarks.zoo.subject import ROWS
from benchmarks.zoo.subject import Subject as ZooSubject
from etbac.backends.interface import Arrays
from etbac.compiler import EngineOptions
from etbac.frontend.load import load_model
from etbac.models import checkpoint as checkpoints
from etbac.passes.exit_model import ExitModel
from etbac.runtime.chain import Chain, load
from etbac.runtime.selection import portable, select

CERTIFY = 1_000 if QUICK else 1_000_000
SMALLER = (14, 20)
"""Layers of the networks that are tried, the smallest first."""
Samples = tuple[Arrays, npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Kept:
    """A checkpoint that another target keeps. `exits`: those of `QUICK=1`, where nothing is planned. `smaller`: trains
    a smaller network, or says why there is none; it gets the chain's accuracy on the samples that choose."""

    name: str
    checkpoint: Callable[[], Path]
    exits: Sequence[int]
    judged: int
    smaller: Callable[[float, Samples, Path], tuple[Answer, str] | str]

    @property
    def folder(self) -> Path:
        return FOLDER / "bench" / self.name.lower()

    def prepare(self) -> str:
        return _sha256(self.checkpoint())

    def open(self, stack: ExitStack) -> Subject:
        path = self.checkpoint()
        self.folder.mkdir(parents=True, exist_ok=True)
        found, exported = checkpoints.load(path), load_model(path)
        test, fit, certify = (checkpoints.load_set(found, name) for name in ("test", "fit", "certify"))
        assert test.labels is not None
        assert certify.labels is not None
        ranges = calibration(fit.inputs)
        chains = self._compiled(exported, ranges) if QUICK else self._planned(path)
        chain, narrow = map(stack.enter_context, chains)
        limits, narrow_limits = (_limits(each, test.inputs) for each in (chain, narrow))
        chosen_by = first(certify.inputs, CERTIFY), certify.labels[:CERTIFY]
        right = demo.judge(lambda batch: chain.run(batch, limits).prediction, *chosen_by)
        return Subject(
            exported=exported,
            network=found.network,
            chain=chain,
            narrow=narrow,
            limits=limits,
            narrow_limits=narrow_limits,
            inputs=test.inputs,
            labels=test.labels,
            judged=self.judged,
            calibration=ranges,
            cut=demo.best_static_cut(exported, chosen_by),
            smaller=self.smaller(float(right.mean()), chosen_by, self.folder),
            notes=[_standing("etbac", chain), _standing("etbac in int8", narrow)],
        )

    def _planned(self, checkpoint: Path) -> tuple[Chain, Chain]:
        """Optimised in fp32 and, by itself, in int8; made again where the sources or the checkpoint have changed."""
        chains = []
        for dtype in ("fp32", "int8"):
            place = self.folder / dtype
            how = ["--precision", PRECISION, "--uncertified", "--max-batch", str(MAX_BATCH), "--dtype", dtype]
            asked = [*how, _sha256(checkpoint), source_hash()]
            record = self.folder / f"{dtype}.json"
            if not (record.is_file() and json.loads(record.read_text()) == asked):
                demo.etbac("optimize", str(checkpoint), *how, "--engine-dir", str(place))
                record.write_text(json.dumps(asked))
            chains.append(load(place))
        return chains[0], chains[1]

    def _compiled(self, exported: ExitModel, ranges: Arrays) -> tuple[Chain, Chain]:
        """Neither verified nor planned."""
        engines = EngineOptions(dtype="int8", calibration=ranges)
        made = ZooSubject(exported, first(ranges, ROWS))
        directory = compiled(self.folder, made, self.exits, engines, MAX_BATCH)
        return Chain(directory, portable(directory)), Chain(directory, select(directory, dtype="int8"))


def resnet32() -> Spec:
    kept = Kept("ResNet-32", _demo, (3, 7, 12), 512 if QUICK else 10_000, _smaller_resnet)
    return _spec(kept, "Fashion-MNIST, test images", {16: 3} if QUICK else {1: 45, 4: 45, 16: 90, 64: 120})


def minilm() -> Spec:
    kept = Kept("MiniLM", _text, (1, 3, 5), 256 if QUICK else 2_000, _no_smaller_encoder)
    seconds = {16: 3} if QUICK else {1: 60, 4: 60, 16: 100, 64: 150}
    return _spec(kept, "subjects of WordNet glosses, 24 tokens, test texts", seconds, compiles=not QUICK)


def _spec(kept: Kept, about: str, seconds: Mapping[int, float], **more: Any) -> Spec:
    how = "; not planned (QUICK): as many samples are made to leave at each exit as go to the end" if QUICK else ""
    return Spec(kept.name, about + how, kept.prepare, kept.open, seconds, is_real=True, **more)


def _demo() -> Path:
    """Of `make demo-full` where it has run, otherwise of `make demo`."""
    if QUICK:
        return demo_checkpoint()
    recipe = demo_recipe()
    demo.train(recipe.checkpoint, recipe.train, data.fashion_mnist())
    return recipe.checkpoint


def demo_recipe() -> demo.Recipe:
    return demo.FULL if demo.FULL.checkpoint.exists() else demo.DEMO


def _text() -> Path:
    row = texts.row()
    return trained(row, TASKS / row.name).checkpoint


def _smaller_resnet(right: float, chosen_by: Samples, folder: Path) -> tuple[Answer, str] | str:
    """Trained as the full model was: the first that keeps the chain's accuracy, else the best, marked."""
    if QUICK:
        return "QUICK trains none"
    recipe = demo_recipe()
    tried: list[tuple[float, Answer, str]] = []
    for layers in SMALLER:
        path = folder / f"{recipe.checkpoint.stem}-{layers}.pt"
        demo.train(path, like(recipe.train, layers), data.fashion_mnist())
        answer: Answer = baselines.whole(load_model(path), folder, path.stem)
        reached = float(demo.judge(answer, *chosen_by).mean())
        print(f"ResNet-{layers}: accuracy {reached:.4f} on the certify set, the chain's is {right:.4f}", flush=True)
        if reached >= float(PRECISION) * right:
            return answer, f"smaller network, ResNet-{layers}"
        tried.append((reached, answer, f"smaller network, ResNet-{layers} (less accurate)"))
    _, answer, name = max(tried, key=lambda each: each[0])
    return answer, name


def like(train: Sequence[str], layers: int) -> tuple[str, ...]:
    """The same training, of a network of so many layers without exits."""
    options = list(train)
    options[options.index("--model") + 1] = f"resnet{layers}"
    options[options.index("--exits") + 1] = "none"
    return tuple(options)


def _no_smaller_encoder(right: float, chosen_by: Samples, folder: Path) -> str:
    return "no package ships a smaller text encoder with trained weights"


def _limits(chain: Chain, inputs: Arrays) -> Limits:
    if chain.plan is None:
        return limits_of(chain, first(inputs, 4 * MAX_BATCH))
    return {exit_id: chain.plan.thresholds[exit_id] for exit_id in chain.exits if exit_id in chain.plan.exits}


def _standing(name: str, chain: Chain) -> str:
    exits = f"exits {', '.join(map(str, chain.exits)) or 'none'}"
    if chain.plan is None:
        return f"{name}: {exits}, not certified"
    if chain.plan.certified:
        return f"{name}: {exits}, certified ≥ {chain.plan.precision} at 95% confidence"
    return f"{name}: {exits}, not certified: {chain.plan.reason}"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
