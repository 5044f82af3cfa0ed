from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.two_blocks import make_engine_dir

import etbac
from etbac.runtime.chain import Chain


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An engine directory that no test changes."""
    return make_engine_dir(tmp_path_factory.mktemp("runtime") / "engines").path


@pytest.fixture(scope="session")
def chain(engines: Path) -> Iterator[Chain]:
    with etbac.load(engines) as chain:
        yield chain
