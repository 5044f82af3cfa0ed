from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from etbac.models.resnet import cifar_resnet
from etbac.training.stages import memory_layout, plain

NARROW = """
import sys
from etbac.training import ExitOptions, TrunkOptions, train
trunk = TrunkOptions(epochs=2, batch_size=25, scales=(0.5, 1.0))
data, out, width, joint = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "1"
options = {"model_options": {"width": width}, "exits": [1], "joint": joint, "heads": ExitOptions(epochs=1)}
train("resnet8", data=data, out=out, trunk=trunk, **options)
"""


@pytest.mark.parametrize(
    ("width", "layout"),
    [
        (4, torch.contiguous_format),
        (8, torch.contiguous_format),
        (12, torch.contiguous_format),
        (16, torch.channels_last),
    ],
)
def test_narrow_networks_keep_the_plain_layout(width: int, layout: torch.memory_format) -> None:
    assert memory_layout(cifar_resnet(8, 1, width=width)) is layout


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_read_with_their_channels_last_get_plain_strides(channels: int) -> None:
    read = torch.rand(2, 4, 4, channels).permute(0, 3, 1, 2)
    assert plain(read).stride() == (16 * channels, 16, 4, 1)
    torch.testing.assert_close(plain(read), read, rtol=0, atol=0)


@pytest.mark.parametrize(("width", "joint"), [(4, False), (8, True)])
def test_a_narrow_network_trains_on_several_threads(data_folder: Path, tmp_path: Path, width: int, joint: bool) -> None:
    """In a process of its own, which a backward pass in the wrong layout would kill."""
    command = [sys.executable, "-c", NARROW, str(data_folder), str(tmp_path / "model.pt"), str(width), str(int(joint))]
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
