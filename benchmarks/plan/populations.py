"""The populations that plans are made for again and again, and the chains that they were recorded with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import etbac
from benchmarks import data, demo
from benchmarks.plan import glosses
from benchmarks.plan.guarantee import Population, made_up
from benchmarks.zoo.packages import install_missing
from etbac.metrics import METRICS
from etbac.planner.collect import collect
from etbac.planner.plan import TEST
from etbac.planner.samples import SampleSet, load_recorded, read_npz
from etbac.planner.statistics import ExitStatistics
from etbac.profiles.stored import read
from etbac.runtime.chain import Chain, load

FOLDER = Path("results/bench-plan")
FASHION_MNIST, WORDNET = "Fashion-MNIST", "WordNet glosses"
EVERY_EXIT = {FASHION_MNIST: FOLDER / "resnet", WORDNET: FOLDER / "minilm"}
PLANNED = {FASHION_MNIST: FOLDER / "resnet-planned", WORDNET: FOLDER / "minilm"}
GLOSSES = FOLDER / "glosses.npz"
RECORDED = ("search", "certify", "test")
"""The demo's sets that nothing was fitted on."""
PRECISION = 0.9968
PROFILE_SECONDS = 8.0
RACED, DRAWN = 100, 4_000


def fashion_mnist() -> None:
    """The demo's checkpoint: what all its exits say of 28,000 images, the matrix, and the planned chain."""
    demo.train(demo.DEMO.checkpoint, demo.DEMO.train, data.fashion_mnist())
    path = _begun_anew(FASHION_MNIST)
    etbac.compile(demo.DEMO.checkpoint, path)
    etbac.profile(path, budget_s=PROFILE_SECONDS)
    with load(path) as chain:
        sets = load_recorded(chain.engine_dir, None, RECORDED)
        _record(FASHION_MNIST, [collect(chain, each, METRICS["accuracy"]) for each in sets])
    etbac.optimize(
        str(demo.DEMO.checkpoint), PLANNED[FASHION_MNIST], PRECISION, budget_s=PROFILE_SECONDS, batches=RACED
    )


def wordnet() -> None:
    """MiniLM with exits fitted here: what they say of glosses that nothing was fitted on, the matrix, and a plan."""
    install_missing()
    found = glosses.read(data.wordnet())
    network, statistics = glosses.fit(found)
    path, rest = _begun_anew(WORDNET), found.take(slice(glosses.FIT, None))
    etbac.compile(glosses.exit_model(network, found), path)
    etbac.profile(path, budget_s=PROFILE_SECONDS)
    _record(WORDNET, [statistics])
    np.savez(GLOSSES, allow_pickle=False, labels=rest.labels[:DRAWN], **rest.take(slice(DRAWN)).inputs)
    etbac.plan(path, PRECISION, data=GLOSSES, uncertified=True)


def synthetic() -> Population:
    """Known truth, with repairs as well as harms."""
    return made_up("synthetic", PRECISION, TEST)


def recorded(name: str) -> Population:
    """What `fashion_mnist` or `wordnet` has left."""
    with np.load(_file(name), allow_pickle=False) as arrays:
        exits = tuple(arrays["exits"].tolist())
        statistics = ExitStatistics(exits, arrays["confidence"], arrays["right"], arrays["full_right"])
    with load(EVERY_EXIT[name]) as chain:
        profile = read(chain)
    if profile is None:
        raise SystemExit(f"FAILED: the profile of {EVERY_EXIT[name]} is gone; delete {FOLDER} and begin again")
    return Population(name, statistics, profile.matrix, PRECISION, TEST)


@contextmanager
def planned(name: str) -> Iterator[tuple[Chain, SampleSet]]:
    """The chain with its plan, and samples to run it on."""
    with load(PLANNED[name]) as chain:
        if name == WORDNET:
            samples = read_npz(GLOSSES, chain.manifest.inputs)
        else:
            (samples,) = load_recorded(chain.engine_dir, None, ["search"])
        yield chain, samples.take(slice(DRAWN))


def files(name: str) -> tuple[Path, ...]:
    """What must be there for `recorded` and `planned`."""
    return (_file(name), EVERY_EXIT[name], PLANNED[name], *([GLOSSES] if name == WORDNET else []))


def _begun_anew(name: str) -> Path:
    """Where the chain with every exit goes. Nothing is left of before: readings of a set are counted there."""
    for path in (EVERY_EXIT[name], PLANNED[name]):
        shutil.rmtree(path, ignore_errors=True)
    return EVERY_EXIT[name]


def _record(name: str, parts: Sequence[ExitStatistics]) -> None:
    arrays = {
        "exits": np.array(parts[0].exits),
        "confidence": np.concatenate([part.confidence for part in parts], axis=1),
        "right": np.concatenate([part.scores for part in parts], axis=1),
        "full_right": np.concatenate([part.full_scores for part in parts]),
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(_file(name), allow_pickle=False, **arrays)


def _file(name: str) -> Path:
    return FOLDER / f"{name.split()[0].lower()}.npz"
