from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from etbac.errors import EtbacError, InputError
from etbac.preprocessing import (
    AudioPreprocessing,
    ImagePreprocessing,
    Preprocessing,
    TextPreprocessing,
    apply_each,
    from_json,
)

KINDS: list[Preprocessing] = [
    ImagePreprocessing("x", 2, 3, 2, 0.5, (1.0, 2.0), (2.0, 4.0), "crop", 0.875),
    TextPreprocessing("{}", 8, ("input_ids",), "<pad>"),
    AudioPreprocessing("x", 16_000, 400, normalize=True),
]


@pytest.mark.parametrize("form", KINDS, ids=lambda form: form.kind)
def test_every_kind_survives_json(form: Preprocessing) -> None:
    assert from_json(json.loads(json.dumps(form.to_json()))) == form


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(EtbacError, match=r"'smell' is not known; there are image, text, audio"):
        from_json({"kind": "smell"})


def test_samples_one_after_another_are_the_batch() -> None:
    form, sounds = KINDS[2], [np.linspace(-1, 1, length, dtype=np.float32) for length in (3, 400, 700)]
    np.testing.assert_array_equal(apply_each(form, iter(sounds))["x"], form.apply(sounds)["x"])
    assert apply_each(form, [])["x"].shape == (0, 400)


def test_nothing_heavy_is_imported_with_it() -> None:
    heavy = ("torch", "transformers", "tokenizers", "PIL", "scipy", "soundfile")
    program = f"import sys; import etbac.preprocessing; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("size", [0, -1, 1.5, "8", True])
def test_sizes_are_whole_numbers(size: Any) -> None:
    with pytest.raises(InputError, match="height is a whole number of at least 1"):
        ImagePreprocessing("x", size, 8, 1, 1.0, (0.0,), (1.0,))
    with pytest.raises(InputError, match="rate is a whole number"):
        AudioPreprocessing("x", size, 8)
    with pytest.raises(InputError, match="max_length is a whole number"):
        TextPreprocessing("{}", size)


def test_every_channel_has_its_mean() -> None:
    with pytest.raises(InputError, match="one entry a channel; found 3 and 3 for 1"):
        ImagePreprocessing("x", 8, 8, 1, 1.0, (0.0,) * 3, (1.0,) * 3)
