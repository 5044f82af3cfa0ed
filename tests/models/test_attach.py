from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from etbac.errors import UnsupportedModelError, UsageError
from etbac.models.attach import ExitNetwork, attach_exits
from etbac.models.blocks import find_blocks
from etbac.models.checkpoint import state_sha256
from etbac.models.resnet import cifar_resnet, imagenet_resnet

Pictures = dict[str, Tensor]


class Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return x + torch.relu(self.inner(x)), None


class Encoder(nn.Module):
    """Tokens in two inputs, layers that give tuples, a mapping as output: as transformers' models do."""

    def __init__(self, depth: int = 4) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(8) for _ in range(depth))
        self.classifier = nn.Linear(8, 3)

    def forward(self, tokens: Tensor, mask: Tensor) -> dict[str, Tensor]:
        x = tokens * mask[..., None]
        for layer in self.layers:
            x, _ = layer(x)
        return {"hidden": x, "logits": self.classifier(x.mean(1))}


class Shared(nn.Module):
    """One layer called twice, one called past its hooks, one not called at all."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.past, self.never, self.last = (nn.Linear(4, 4) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.last(self.past.forward(self.twice(self.twice(x))))
        return answer


@dataclass
class Case:
    network: ExitNetwork
    inputs: dict[str, Tensor]


@pytest.fixture
def encoder() -> Case:
    torch.manual_seed(0)
    inputs = {"tokens": torch.randn(3, 5, 8), "mask": torch.ones(3, 5)}
    return Case(attach_exits(Encoder(), at="all", example_inputs=inputs).eval(), inputs)


@pytest.mark.parametrize(
    ("network", "count"),
    [(cifar_resnet(8, 1), 3), (cifar_resnet(32, 1), 15), (imagenet_resnet(18, 1), 8), (imagenet_resnet(50, 1), 16)],
)
def test_blocks_are_found_in_the_order_in_which_they_run(network: nn.Module, count: int, pictures: Pictures) -> None:
    blocks = find_blocks(network, pictures)
    stages = [
        dict(network.named_children())[name] for name in dict(network.named_children()) if name.startswith("layer")
    ]
    expected = [block for stage in stages for block in stage]  # type: ignore[attr-defined]
    assert [network.get_submodule(path) for path in blocks] == expected
    assert len(blocks) == count


def test_blocks_are_the_layers_of_an_encoder(encoder: Case) -> None:
    assert [spec.module for spec in encoder.network.exits] == ["layers.0", "layers.1", "layers.2"]


def test_a_model_without_repeated_blocks_is_told_to_name_modules(pictures: Pictures) -> None:
    plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 26 * 26, 10))
    with pytest.raises(UnsupportedModelError, match="name the modules"):
        find_blocks(plain, {"input": pictures["image"]})


def test_auto_places_of_the_demos_network(pictures: Pictures) -> None:
    network = attach_exits(cifar_resnet(32, 1), at="auto", example_inputs=pictures)
    assert {1, 3, 7, 12} <= {spec.id for spec in network.exits}
    assert len(network.exits) == 7


def test_ids_are_block_numbers_or_places_in_the_list_of_paths(pictures: Pictures) -> None:
    by_block = attach_exits(cifar_resnet(20, 1), at=[7, 3], example_inputs=pictures)
    by_path = attach_exits(cifar_resnet(20, 1), at=["layer1.2", "layer3.0"], example_inputs=pictures)
    assert [(spec.id, spec.module) for spec in by_block.exits] == [(3, "layer1.2"), (7, "layer3.0")]
    assert [(spec.id, spec.module) for spec in by_path.exits] == [(1, "layer1.2"), (2, "layer3.0")]


def test_the_trunk_stays_as_it_was(pictures: Pictures) -> None:
    trunk = cifar_resnet(20, 1)
    trunk.layer2.eval()
    before, modes = state_sha256(trunk.state_dict()), [module.training for module in trunk.modules()]
    answer = copy.deepcopy(trunk).eval()(**pictures)
    network = attach_exits(trunk, at=[1, 5], example_inputs=pictures)
    assert [module.training for module in trunk.modules()] == modes
    assert network.trunk is trunk
    torch.testing.assert_close(network.eval()(**pictures)["prediction"], answer)
    assert state_sha256(trunk.state_dict()) == before
    assert not any(module._forward_hooks for module in trunk.modules())


def test_an_exit_reads_what_its_module_gave(encoder: Case) -> None:
    answers = encoder.network(**encoder.inputs)
    trunk = encoder.network.trunk
    x = encoder.inputs["tokens"]
    for spec, layer in zip(encoder.network.exits, trunk.layers, strict=False):  # type: ignore[arg-type]
        x, _ = layer(x)
        torch.testing.assert_close(answers[f"exit_{spec.id}"], encoder.network.head(spec.id)(x))
    torch.testing.assert_close(answers["prediction"], trunk(**encoder.inputs)["logits"])


def test_a_subset_of_exits_gives_the_same_answers(encoder: Case) -> None:
    whole, part = encoder.network(**encoder.inputs), encoder.network.with_exits([3, 1])(**encoder.inputs)
    assert list(part) == ["exit_1", "exit_3", "prediction"]
    for name, answer in part.items():
        torch.testing.assert_close(answer, whole[name], rtol=0, atol=0)


def test_inputs_are_described_by_name(encoder: Case) -> None:
    assert [(spec.name, spec.dtype, spec.shape) for spec in encoder.network.inputs] == [
        ("tokens", "float32", ("batch", 5, 8)),
        ("mask", "float32", ("batch", 5)),
    ]


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (["twice"], "'twice' is called more than once"),
        (["past"], "'past' did not run"),
        (["never"], "'never' did not run"),
        (["lst"], "no module 'lst'.*last"),
        (["last", "last"], "asked for twice"),
        ([], "at=\\[\\]"),
        ("some", "at='some'"),
    ],
)
def test_a_place_that_cannot_have_an_exit_is_named(at: list[str] | str, message: str) -> None:
    with pytest.raises((UsageError, UnsupportedModelError), match=message):
        attach_exits(Shared(), at=at, example_inputs={"x": torch.randn(2, 4)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at": [3, 40]}, "no block 40; it has blocks 1 to 9"),
        ({"at": [3, 3]}, "asked for twice"),
        ({"task": "poetry"}, "no task 'poetry'"),
        ({"head": "poetry"}, "no exit head 'poetry'"),
        ({"head": "token-mlp"}, "'token-mlp' does not fit"),
    ],
)
def test_a_wrong_request_says_what_there_is(options: dict[str, object], message: str, pictures: Pictures) -> None:
    with pytest.raises(UsageError, match=message):
        attach_exits(cifar_resnet(20, 1), example_inputs=pictures, **options)  # type: ignore[arg-type]


def test_an_exit_that_is_not_there_is_refused_with_those_that_are(encoder: Case) -> None:
    with pytest.raises(UsageError, match="no exit 9; it has exits 1, 2, 3"):
        encoder.network.with_exits([9])


class Residual(nn.Module):
    """Two layers and a shortcut that is added in place, as in transformers' ResNet."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.Sequential(*(nn.Sequential(nn.Linear(6, 6)) for _ in range(2)))
        self.activation = nn.Sequential(nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = self.steps(x)
        x += shortcut
        return self.activation(x)  # type: ignore[no-any-return]


class Stages(nn.Module):
    """Stages of two blocks with a module between that has parameters of another kind."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(nn.ModuleList(Residual() for _ in range(2)) for _ in range(3))
        self.between = nn.ModuleList(nn.LayerNorm(6) for _ in range(3))
        self.classifier = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        for stage, between in zip(self.stages, self.between, strict=True):
            for block in stage:  # type: ignore[attr-defined]
                x = block(x)
            x = between(x)
        return self.classifier(x)  # type: ignore[no-any-return]


def test_blocks_are_whole_residual_blocks_also_where_modules_stand_between_them() -> None:
    expected = [f"stages.{stage}.{block}" for stage in range(3) for block in range(2)]
    assert find_blocks(Stages(), {"x": torch.randn(2, 6)}) == expected


@pytest.mark.parametrize("training", [False, True])
def test_heads_are_in_the_models_mode(training: bool) -> None:
    trunk = cifar_resnet(8, 1, 10, width=4).train(training)
    network = attach_exits(trunk, at=["layer1.0"], example_inputs={"image": torch.randn(2, 1, 28, 28)})
    assert {module.training for module in network.modules()} == {training}
