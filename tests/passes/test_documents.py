from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from support.pass_pages import MODEL, READING, page

from etbac.passes.gates import registry

DOCUMENT = Path(__file__).parents[2] / "docs" / "passes.md"


def test_the_document_is_what_the_docstrings_say():
    assert DOCUMENT.read_text() == page(), "run make docs"


@pytest.mark.parametrize("subject", [*READING, *MODEL, *map(registry.get, registry.BUILT_IN)], ids=lambda s: s.__name__)
def test_every_pass_shows_its_graph_before_and_after(subject):
    text = inspect.getdoc(subject)
    assert "before:" in text
    assert "after:" in text
