"""Batch normalisation in two processes: the worker's code, which a spawned process can import."""

from __future__ import annotations

import os

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from etbac.models.heads.norm import BatchNorm1d, BatchNorm2d

SHAPES = {"1d": (6, 4), "2d": (6, 4, 3, 3)}


def network(kind: str) -> nn.Module:
    torch.manual_seed(0)
    norm = BatchNorm1d(4) if kind == "1d" else BatchNorm2d(4)
    layer = nn.Linear(4, 4) if kind == "1d" else nn.Conv2d(4, 4, 1)
    return nn.Sequential(layer, norm, nn.Tanh())


def batch(kind: str) -> torch.Tensor:
    return torch.randn(SHAPES[kind], generator=torch.Generator().manual_seed(1)) * 3 + 1


def steps(module: nn.Module, rows: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        module(rows).square().mean().backward()
        optimizer.step()


def one_of_two(rank: int, folder: str, kind: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    module = DistributedDataParallel(network(kind))
    steps(module, batch(kind)[3 * rank : 3 * rank + 3])
    if rank == 0:
        torch.save(module.module.state_dict(), os.path.join(folder, "state.pt"))
    distributed.destroy_process_group()
