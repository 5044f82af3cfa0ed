from __future__ import annotations

import numpy as np
import pytest

from etbac.cli.answers import rows
from etbac.runtime.results import Result

SCORES = np.array([[0.5, 2.0, 1.0], [3.0, 0.0, 1.0]], np.float32)


@pytest.mark.parametrize(
    ("task", "prediction", "expected"),
    [
        ("classification", SCORES, [1, 0]),
        ("text", SCORES, [1, 0]),
        ("speech", SCORES, [1, 0]),
        ("text", SCORES[:, :1], [0.5, 3.0]),
        ("pose", SCORES, ["prediction: float32 [3]"] * 2),
    ],
)
def test_an_answer_is_a_class_a_number_or_what_it_is(task: str, prediction: np.ndarray, expected: list[object]) -> None:
    result = Result(prediction, np.array([1, 0]), np.array([0, 1]), np.array([0.75, np.nan], np.float32))
    found = rows(task, None, result)
    assert [each["prediction"] for each in found] == expected
    assert [each["confidence"] for each in found] == [0.75, None]
