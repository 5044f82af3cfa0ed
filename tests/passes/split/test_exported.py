"""Networks as torch and transformers export them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_ir as ir
import pytest
from support.split_cases import check_split, from_proto, gated

from etbac.passes.exit_model import ExitModel
from etbac.passes.split import explain

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.long


class TwoHeads(torch.nn.Module):
    """A transformer with a linear head on its first layer's states and one on its last's."""

    def __init__(self, trunk: Any, pool: Callable[[Any, Any], Any], width: int) -> None:
        super().__init__()
        self.trunk, self.pool = trunk, pool
        self.first, self.last = torch.nn.Linear(width, 3), torch.nn.Linear(width, 3)

    def forward(self, ids: Any, mask: Any) -> tuple[Any, Any]:
        states = self.trunk(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        return self.first(self.pool(states[1], mask)), self.last(self.pool(states[-1], mask))


def first_token(states: Any, mask: Any) -> Any:
    return states[:, 0]


def last_token(states: Any, mask: Any) -> Any:
    """x[arange(B), length − 1]: row numbers as an index."""
    return states[torch.arange(states.shape[0]), mask.sum(1).clamp(min=1) - 1]


def bert() -> Any:
    size = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
    return TwoHeads(transformers.BertModel(transformers.BertConfig(vocab_size=40, **size)), first_token, 32)


def gpt2() -> Any:
    config = transformers.GPT2Config(vocab_size=40, n_embd=32, n_layer=3, n_head=2, n_positions=64, use_cache=False)
    return TwoHeads(transformers.GPT2Model(config), last_token, 32)


def exported(network: Any) -> ExitModel:
    torch.manual_seed(0)
    ids = torch.randint(0, 40, (3, 8))
    batch, length = torch.export.Dim.DYNAMIC, torch.export.Dim.DYNAMIC
    program = torch.onnx.export(
        network.eval(),
        (ids, torch.ones_like(ids)),
        input_names=["ids", "mask"],
        output_names=["exit_1", "y"],
        dynamic_shapes=({0: batch, 1: length}, {0: batch, 1: length}),
        opset_version=18,
        dynamo=True,
        optimize=True,
    )
    return from_proto(ir.to_proto(program.model))


@pytest.mark.parametrize("build", [bert, gpt2])
def test_a_transformer_is_cut(build: Callable[[], Any]) -> None:
    model = exported(build())
    check_split(model, sizes={})
    (report,) = explain(gated(model))
    assert report.bytes_per_sample < report.naive_bytes_per_sample
