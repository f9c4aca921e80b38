"""Layers that the attackers' networks are made of."""

from __future__ import annotations

from torch import nn


def convolution(
    inputs: int, outputs: int, *, pool: int = 1, window: int = 3, stride: int = 1
) -> tuple[nn.Module, ...]:
    """Build a convolution with batch normalisation.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        pool: Side of the maximum pooling; the resolution is divided by it.
        window: Side of the convolution's window.
        stride: Stride of the convolution; the resolution is divided by it.
    """
    # Pooling first: the same maximum, at a quarter of the cost of what follows.
    return (
        nn.Conv2d(inputs, outputs, window, stride=stride, padding=(window - stride + 1) // 2, bias=False),
        nn.MaxPool2d(pool) if pool > 1 else nn.Identity(),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )
