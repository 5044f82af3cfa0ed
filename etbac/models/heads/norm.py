"""Batch normalisation over the whole batch, also where several processes have a part of it each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _AllReduce(torch.autograd.Function):
    """The sum over all processes, forwards and of the gradient: each process' loss depends on every one's values."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        summed = values.clone()
        distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        summed = gradients[0].clone()
        distributed.all_reduce(summed)
        return summed


class _Synchronised(_BatchNorm):
    """nn.BatchNorm*d whose statistics, in training, are of the rows of all processes; the same state dict.

    Source: Ioffe & Szegedy, Batch Normalization, ICML 2015. torch's own nn.SyncBatchNorm needs a GPU; this one works
    with every backend of torch.distributed, gloo among them. Without several processes it is torch's plain one.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not (self.training and _several_processes()):
            return super().forward(input)
        axes = [axis for axis in range(input.ndim) if axis != 1]
        x = input.float()
        own = x.new_full((1,), x.numel() / x.shape[1])
        totals = _added_up(torch.cat([x.sum(axes), own]))
        count = totals[-1]
        mean = totals[:-1] / count
        centred = x - _per_channel(mean, x)
        variance = _added_up(centred.square().sum(axes)) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
        normal = centred * _per_channel(torch.rsqrt(variance + self.eps), x)
        if self.affine:
            normal = normal * _per_channel(self.weight, x) + _per_channel(self.bias, x)
        return normal.to(input.dtype)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / self.num_batches_tracked.item()
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


class BatchNorm1d(_Synchronised, nn.BatchNorm1d):
    """For [B, C] and [B, C, L]."""


class BatchNorm2d(_Synchronised, nn.BatchNorm2d):
    """For [B, C, H, W]."""


def _added_up(values: Tensor) -> Tensor:
    summed: Tensor = _AllReduce.apply(values)  # type: ignore[no-untyped-call]
    return summed


def _several_processes() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(1, -1, *[1] * (like.ndim - 2))
