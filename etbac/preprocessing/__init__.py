"""How pictures, texts and sounds become a model's inputs, as data that a checkpoint and a manifest can hold.

Needs numpy alone until something is read; Pillow, tokenizers, soundfile and scipy are imported where they are used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from etbac.errors import EtbacError
from etbac.preprocessing.audio import AudioPreprocessing
from etbac.preprocessing.image import ImagePreprocessing
from etbac.preprocessing.text import TextPreprocessing

__all__ = ["AudioPreprocessing", "ImagePreprocessing", "Preprocessing", "TextPreprocessing", "apply_each", "from_json"]


class Preprocessing(Protocol):
    """From raw samples (a picture's pixels, a text, a waveform) to a model's inputs."""

    kind: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """As data, with `kind`."""

    def apply(self, raws: Any) -> dict[str, npt.NDArray[Any]]:
        """The model's inputs by name, batch on axis 0. InputError for a sample of another kind."""


_KINDS: Mapping[str, Any] = {each.kind: each for each in (ImagePreprocessing, TextPreprocessing, AudioPreprocessing)}


def from_json(data: Mapping[str, Any]) -> Preprocessing:
    """What `to_json` gave; fields that were added since have their defaults. EtbacError for an unknown kind."""
    if data.get("kind") not in _KINDS:
        raise EtbacError(f"preprocessing of the kind {data.get('kind')!r} is not known; there are {', '.join(_KINDS)}")
    found: Preprocessing = _KINDS[data["kind"]].from_json(data)
    return found


def apply_each(preprocessing: Preprocessing, raws: Iterable[Any]) -> dict[str, npt.NDArray[Any]]:
    """As `apply`, one sample after another: one raw sample is in memory at a time."""
    made = [preprocessing.apply([raw]) for raw in raws]
    if not made:
        return preprocessing.apply([])
    return {name: np.concatenate([each[name] for each in made]) for name in made[0]}
