from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.fashion_mnist import write


@pytest.fixture(scope="session")
def pictures() -> dict[str, torch.Tensor]:
    return {"image": torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))}


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("fashion-mnist"), train=300, test=40)
