"""One fit loop: AdamW under a one-cycle schedule, shuffled batches, averaged weights, batch-norm statistics.

Every network of the trainer is fitted with :func:`fit`; what differs between fits is the loss, the batches and the
settings of :class:`OneCycle`. Randomness comes from the caller's generators.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import swa_utils

from trainer.runtime.cancellation import while_wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_Batch = TypeVar("_Batch")

SHORTEST_CYCLE: Final = 10
"""Steps of a cycle below which its rate falls before anything is learned; a shorter pretraining ends within one."""
_STATISTICS_BATCH: Final = 32
_STATISTICS_IMAGES: Final = 1024


def fit(
    descent: OneCycle,
    loss: Callable[[_Batch], Tensor],
    batches: Iterable[_Batch],
    *,
    on_step: Callable[[int, Tensor], None] | None = None,
) -> None:
    """Take one optimizer step per batch.

    Args:
        descent: Optimizer and schedule; may have taken steps before, when a fit is resumed.
        loss: Returns a scalar to lower for a batch. It may draw randomness; batches are taken one at a time.
        batches: Anything that ``loss`` takes.
        on_step: Called after each step with the number of steps taken so far and the loss of the batch.

    Raises:
        GivenUpError: Between two steps, if nobody waits for the result any more; see
            :func:`~trainer.runtime.cancellation.while_wanted`.

    Example:
        >>> weight = nn.Parameter(torch.tensor(1.0))
        >>> descent = OneCycle([weight], steps=100, learning_rate=0.1, weight_decay=0.0)
        >>> fit(descent, lambda target: (weight - target) ** 2, [3.0] * 100)
        >>> round(weight.item(), 1)
        3.0
    """
    for batch in while_wanted(batches):
        value = loss(batch)
        descent.step(value)
        if on_step is not None:
            on_step(descent.done, value.detach())


class OneCycle:
    """AdamW under a one-cycle learning rate (Smith & Topin, 2019): it rises, then falls to almost nothing.

    Args:
        parameters: The weights to fit.
        steps: Optimizer steps of the whole fit.
        learning_rate: Peak of the schedule.
        weight_decay: Decoupled weight decay.
        warm_up: Share of the steps over which the rate rises.
        clip: Largest norm of the gradient; ``None`` leaves it as it is.
        fused: Update all weights in one kernel. Faster, with other rounding.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        steps: int,
        learning_rate: float,
        weight_decay: float = 1e-2,
        warm_up: float = 0.2,
        clip: float | None = None,
        fused: bool = False,
    ) -> None:
        self._clip = clip
        self._optimizer = torch.optim.AdamW(
            parameters, lr=learning_rate, weight_decay=weight_decay, fused=fused
        )
        # torch divides by zero where the rise is exactly one step long.
        total = steps + 1 if math.isclose(steps * warm_up, 1) else max(1, steps)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, learning_rate, total_steps=total, pct_start=warm_up
        )

    @property
    def done(self) -> int:
        """Steps taken so far, those before a checkpoint included."""
        return self._schedule.last_epoch

    def step(self, loss: Tensor) -> None:
        """Take one step down a scalar loss; its graph is freed."""
        descend(self._optimizer, loss, clip=self._clip)
        self._schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the optimizer and of the schedule, for a checkpoint."""
        return {"optimizer": self._optimizer.state_dict(), "schedule": self._schedule.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore from :meth:`state_dict`; further keys are ignored."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, *, clip: float | None = None) -> None:
    """Take one optimizer step down a scalar loss.

    Args:
        optimizer: Holds the weights; their old gradients are dropped.
        loss: The scalar; its graph is freed.
        clip: Largest norm of the gradient over all weights; ``None`` leaves it as it is.
    """
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if clip is not None:
        nn.utils.clip_grad_norm_([each for group in optimizer.param_groups for each in group["params"]], clip)
    optimizer.step()


class ShuffledBatches:
    """The rows of every batch of a fit, each epoch in an order of its own.

    An order is drawn when its epoch begins, so a loss can draw from the same generator in between.

    Args:
        count: Rows in all.
        size: Rows of a batch; all rows if there are fewer.
        epochs: Passes over the rows.
        generator: Source of the orders.
        drop_last: Leave out the last batch of an epoch if it is smaller than the others.

    Example:
        >>> batches = ShuffledBatches(7, 3, epochs=2, generator=torch.Generator().manual_seed(0))
        >>> len(batches), [len(rows) for rows in batches]
        (4, [3, 3, 3, 3])
    """

    def __init__(
        self, count: int, size: int, *, epochs: int, generator: torch.Generator, drop_last: bool = True
    ) -> None:
        self._count, self._size, self._epochs = count, min(size, count), epochs
        self._used = count // self._size * self._size if drop_last else count
        self._generator = generator

    def __len__(self) -> int:
        return self._epochs * math.ceil(self._used / self._size)

    def __iter__(self) -> Iterator[Tensor]:
        for _ in range(self._epochs):
            order = torch.randperm(self._count, generator=self._generator)
            yield from torch.split(order[: self._used], self._size)


def average_weights(network: nn.Module, decay: float) -> swa_utils.AveragedModel:
    r"""Start an exponential moving average of a network's weights that soon forgets its first steps.

    .. math:: \bar\theta_n = d_n \bar\theta_{n-1} + (1 - d_n)\,\theta_n, \qquad d_n = \min\Bigl(d, \frac{n}{n + 9}\Bigr)

    Args:
        network: Gives :math:`\bar\theta_0`, which is copied.
        decay: :math:`d` in [0, 1].

    Returns:
        torch's averaged model, without gradients. Call ``update_parameters(network)`` after each step; ``module`` is
        the averaged network.
    """

    def average(averaged: Any, current: Any, count: Tensor | int) -> None:
        reached = float(count) / (float(count) + 9)
        update = swa_utils.get_ema_multi_avg_fn(min(decay, reached))  # type: ignore[no-untyped-call]
        update(averaged, current, count)

    mean = swa_utils.AveragedModel(network, multi_avg_fn=average)
    mean.requires_grad_(requires_grad=False)
    mean.update_parameters(network)
    return mean


def update_batch_norm(network: nn.Module, images: Tensor, as_input: Callable[[Tensor], Tensor]) -> None:
    """Compute the statistics of batch normalisation anew with the final weights, in batches of 32 images.

    The running means of a short fit lag behind its weights.

    Args:
        network: The fitted network.
        images: Training images in random order, shape ``[N, ...]``; the first 1,024 are used.
        as_input: Turns a batch of images into what the network takes.
    """
    size = min(_STATISTICS_BATCH, len(images))
    count = min(_STATISTICS_IMAGES, len(images) // size * size)
    swa_utils.update_bn(map(as_input, torch.split(images[:count], size)), network)
