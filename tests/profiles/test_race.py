from __future__ import annotations

import numpy as np
import pytest

from etbac.profiles.race import random_rows


@pytest.mark.parametrize(("samples", "size"), [(40, 8), (10, 4), (3, 8)])
def test_every_sample_is_drawn_once_before_any_is_drawn_again(samples, size):
    drawn = np.concatenate(list(random_rows(samples, size, batches=20, seed=1)))
    assert len(drawn) == 20 * size
    for start in range(0, len(drawn) - samples, samples):
        assert sorted(drawn[start : start + samples]) == list(range(samples))
