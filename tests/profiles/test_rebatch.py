from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.even_profile import write_even_profile
from support.two_blocks import make_engine_dir, make_inputs

import etbac
from etbac.errors import UsageError


def test_requests_run_together_as_the_profile_says(tmp_path: Path) -> None:
    engines = make_engine_dir(tmp_path / "engines").path
    write_even_profile(engines)
    with etbac.load(engines) as chain, etbac.rebatch(chain, room=32, thresholds=0.7) as together:
        found = [together.submit(make_inputs(3, seed)) for seed in range(4)]
        for seed, future in enumerate(found):
            wanted = chain.run(make_inputs(3, seed), 0.7)
            np.testing.assert_allclose(future.result(20).prediction, wanted.prediction, rtol=1e-5, atol=1e-6)


def test_without_a_profile_it_says_what_to_do(tmp_path: Path) -> None:
    engines = make_engine_dir(tmp_path / "engines").path
    with etbac.load(engines) as chain, pytest.raises(UsageError, match="run etbac profile"):
        etbac.rebatch(chain)
