"""docs/tasks.md says what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from etbac.models import heads, registry, tasks

DOCUMENT = (Path(__file__).parents[3] / "docs" / "tasks.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", tasks.names())
def test_every_task_has_a_row_with_its_gate_and_metric(name: str) -> None:
    rows = [line for line in DOCUMENT.splitlines() if line.startswith(f"| `{name}`")]
    assert rows
    task = tasks.get(name)
    assert f"`{task.metric}`" in rows[0]
    assert f"`{task.gate or 'max-prob'}`" in rows[0]


def test_every_head_and_kind_of_network_is_named() -> None:
    assert [name for name in heads.names() if f"`{name}`" not in DOCUMENT] == []
    families = {name.rstrip("0123456789") for name in registry.BUILT_IN}
    assert [family for family in families if f"`{family}" not in DOCUMENT] == []
