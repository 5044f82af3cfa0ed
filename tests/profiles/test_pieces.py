from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.small_network import make_images, make_network

from etbac.compiler import CompileOptions, EngineOptions, compile_model
from etbac.frontend.torch_export import from_module
from etbac.profiles.pieces import head_bytes, pieces
from etbac.runtime.chain import load


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "int8"])
def test_trunks_give_their_segments_boundary_and_gathers_the_rows_asked_for(tmp_path: Path, dtype: str):
    model = from_module(make_network(), make_images(2), {"path": "small", "kind": "module", "sha256": None})
    engines = EngineOptions(dtype=dtype, calibration=make_images(32))
    compile_model(model, tmp_path / "engines", CompileOptions(engines=engines))
    with load(tmp_path / "engines") as chain, pieces(chain) as parts:
        assert [part.name for part in parts] == ["trunk-00", "trunk-01", "gather-01", "gather-02"]
        batch, keep = make_images(5), np.array([0, 2, 3])
        carried = [batch[name] for name in chain.stages[0].inputs]
        for place, stage in enumerate(chain.stages):
            rows = np.arange(5) if place == 0 else keep
            boundary = stage.run(carried, rows, np.inf).boundary
            for part in (part for part in parts if part.place == place):
                found = part.run(carried, rows)
                expected = boundary if part.name.startswith("trunk") else [np.asarray(each)[keep] for each in carried]
                for ours, theirs in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
            carried = [np.concatenate([np.asarray(each)] * 2)[:5] for each in boundary]


def test_a_heads_weights_are_those_that_the_trunk_does_not_have(tmp_path: Path):
    network = make_network()
    model = from_module(network, make_images(2), {"path": "small", "kind": "module", "sha256": None})
    compile_model(model, tmp_path / "engines", CompileOptions())
    with load(tmp_path / "engines") as chain:
        found = head_bytes(chain)
        assert tuple(found) == chain.exits
    heads = [sum(4 * each.numel() for each in head.parameters()) for head in network.heads.values()]
    assert list(found.values()) == pytest.approx(heads, rel=0.01)  # a normalisation is folded
