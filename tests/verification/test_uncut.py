from __future__ import annotations

import numpy as np
import onnx_ir as ir
from support.small_network import make_images, make_network

from etbac.frontend.torch_export import from_module
from etbac.verification.uncut import UncutModel


def test_a_model_that_rested_answers_as_before_whatever_became_of_its_source() -> None:
    exit_model = from_module(make_network(), make_images(2), {})
    with UncutModel(exit_model) as uncut:
        before = uncut.answers(make_images(3))
        uncut.rest()
        for value in exit_model.model.graph.initializers.values():
            value.const_value = ir.tensor(np.zeros(1, np.float32))
        after = uncut.answers(make_images(3))
    assert set(before) == {0, *exit_model.exits}
    for exit_id, fields in before.items():
        np.testing.assert_array_equal(after[exit_id]["prediction"], fields["prediction"])
