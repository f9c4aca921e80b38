"""What the attackers' networks are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

_BATCH: Final = 32
_MOST: Final = 1024


def convolution(
    inputs: int, outputs: int, *, pool: int = 1, window: int = 3, stride: int = 1
) -> tuple[nn.Module, ...]:
    """A convolution with batch normalisation, its resolution divided by ``stride`` and ``pool``."""
    # Pooling first: the same maximum, at a quarter of the cost of what follows.
    return (
        nn.Conv2d(inputs, outputs, window, stride=stride, padding=(window - stride + 1) // 2, bias=False),
        nn.MaxPool2d(pool) if pool > 1 else nn.Identity(),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


@torch.no_grad()
def update_bn(network: nn.Module, read: Callable[[Tensor], object], images: Tensor) -> None:
    """Compute the statistics of batch normalisation anew, by the final weights.

    Their running means lag behind: with few steps, a deep network that learned well reads at chance with them.

    Args:
        network: As it was trained.
        read: Lets the network look at a batch.
        images: What it learned from, shape ``[N, ...]``, in random order; the first 1,024 are taken.
    """
    batch = min(_BATCH, len(images))
    network.train()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # the mean over all that follows
    for part in torch.split(images[: min(_MOST, len(images) // batch * batch)], batch):
        read(part)
