"""What the contenders answer: how often they are right, and whether those that should answer alike do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.bench.contenders import ALIKE, OURS, Field
from benchmarks.bench.options import MAX_BATCH
from benchmarks.bench.subject import Answer, Subject, first
from etbac.backends.interface import Array, Arrays
from etbac.errors import one_line

ALLOWED = 0.002
"""Share of samples that may leave elsewhere: sums in another order move a confidence across its threshold."""
APART = 1e-3
"""Of the largest logit."""


def judge(subject: Subject, field: Field) -> dict[str, Any]:
    """Accuracy by contender (None where nothing is right or wrong), the share of samples that each of ALIKE answers
    otherwise than the chain, and what failed: those contenders are out of the field."""
    rows = max(MAX_BATCH, subject.judged - subject.judged % MAX_BATCH)
    answers, failed = {}, {}
    for name, answer in list(field.answers.items()):
        try:
            answers[name] = in_batches(answer, subject.inputs, rows)
        except Exception as error:  # whatever a library raises: the others go on, and the verdict says it
            failed[name] = one_line(error)[:300]
            del field.answers[name]
    labels = subject.labels
    right = {
        name: None if labels is None else float((logits.argmax(1) == labels[:rows]).mean())
        for name, logits in answers.items()
    }
    return {
        "samples": rows,
        "accuracy": right,
        "differ": differing(answers),
        "failed": failed,
        "absent": field.absent,
        "notes": field.notes,
    }


def in_batches(answer: Answer, inputs: Arrays, rows: int) -> Array:
    """[rows, C]; full batches of MAX_BATCH, which some contenders are compiled for."""
    starts = range(0, rows, MAX_BATCH)
    return np.concatenate([np.asarray(answer(first(inputs, MAX_BATCH, start))) for start in starts])


def differing(answers: Mapping[str, Array]) -> dict[str, float]:
    """Of those of ALIKE that are there."""
    if OURS not in answers:
        return {}
    ours = answers[OURS]
    limit = APART * np.abs(ours).max()
    return {name: float((np.abs(answers[name] - ours).max(axis=1) > limit).mean()) for name in ALIKE if name in answers}
