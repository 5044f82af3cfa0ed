"""What every task keeps: checks, losses that are means over rows, imitation, heads, gates."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from etbac.errors import UnsupportedModelError, UsageError
from etbac.models import heads, tasks
from etbac.passes.gates.registry import parse

torch.manual_seed(0)
JOINTS = torch.tensor([[[8.0, 20.0, 1, 9], [30, 12, 1, 9]], [[4, 4, 1, 9], [16, 28, 0, 9]], [[0, 0, 1, 9]] * 2])
MASKS = torch.randint(0, 3, (3, 16, 16)).index_fill(1, torch.tensor([0, 1]), 255)
CASES: dict[str, tuple[Tensor, Tensor]] = {
    "classification": (torch.randn(3, 4), torch.tensor([0, 3, 1])),
    "speech": (torch.randn(3, 4), torch.tensor([0, 3, 1])),
    "text": (torch.randn(3, 4), torch.tensor([0, 3, 1])),
    "pose": (torch.randn(3, 2, 8, 8), JOINTS),
    "segmentation": (torch.randn(3, 3, 4, 4), MASKS),
}


def test_every_task_has_a_case() -> None:
    assert set(CASES) == set(tasks.names())


def test_an_unknown_task_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        UsageError, match="no task 'poetry'; there are classification, pose, segmentation, text, speech"
    ):
        tasks.get("poetry")


@pytest.mark.parametrize("name", CASES)
def test_the_loss_is_the_mean_of_the_rows_losses(name: str) -> None:
    task, (prediction, targets) = tasks.get(name), CASES[name]
    rows = [task.loss(prediction[row : row + 1], targets[row : row + 1]) for row in range(3)]
    torch.testing.assert_close(task.loss(prediction, targets), torch.stack(rows).mean())
    teacher = prediction.flip(0)
    rows = [task.imitation(prediction[row : row + 1], teacher[row : row + 1], 2.0) for row in range(3)]
    torch.testing.assert_close(task.imitation(prediction, teacher, 2.0), torch.stack(rows).mean())


@pytest.mark.parametrize("name", CASES)
def test_imitation_is_nothing_at_the_teachers_answer_and_more_elsewhere(name: str) -> None:
    task, (teacher, _) = tasks.get(name), CASES[name]
    torch.testing.assert_close(task.imitation(teacher, teacher, 2.0), torch.tensor(0.0), rtol=0, atol=1e-6)
    assert task.imitation(teacher + torch.randn_like(teacher), teacher, 2.0) > 0.01


@pytest.mark.parametrize("name", CASES)
def test_an_answer_of_another_shape_is_refused(name: str) -> None:
    with pytest.raises(UnsupportedModelError, match=r"\(3, 4, 5\).*needs"):
        tasks.get(name).check(torch.zeros(3, 4, 5))


@pytest.mark.parametrize("name", CASES)
def test_the_tasks_head_answers_in_the_full_models_shape(name: str) -> None:
    prediction, _ = CASES[name]
    for features in (torch.randn(3, 6, 4, 4), torch.randn(3, 16, 6)):
        head, options = tasks.get(name).head_for(features, prediction, "block")
        assert heads.build(head, options).eval()(features).shape == prediction.shape


@pytest.mark.parametrize("name", CASES)
def test_the_tasks_gate_can_be_typed(name: str) -> None:
    gate = tasks.get(name).gate_for(tuple(CASES[name][0].shape))
    assert gate is None or parse(gate).name == gate.partition(":")[0]
