from __future__ import annotations

from pathlib import Path

import pytest
from support.fashion_mnist import write


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("fashion-mnist"), train=300, test=40)
