"""Utility gradients from a chat model that only answers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from trainer.algorithms.reader import Reader, question_vectors

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.algorithms.critical_history import CriticalHistory, Records


class AnswerSpace(NamedTuple):
    """Questions, the answer vocabulary that they share, and which answers each question may have."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    candidates: Tensor
    """Boolean, shape ``[Q, V]``."""


class LabelledImages(NamedTuple):
    """The user's own training images with reference answers."""

    images: Tensor
    """``uint8``, shape ``[N, 3, H, W]``."""
    references: Tensor
    """Index of the reference answer, ``-1`` where a question is not asked about an image, shape ``[N, Q]``."""


class UtilityEstimator(Protocol):
    """Turns answered queries into a differentiable utility loss."""

    def observe(self, records: Records) -> None:
        """Take in newly answered queries."""

    def fit(self, *, generator: torch.Generator) -> dict[str, float]:
        """Learn from what was observed, a few steps; returns metrics."""

    def loss(self, images: Tensor, references: Tensor, *, generator: torch.Generator) -> Tensor:
        """Utility loss per image, differentiable in ``images``.

        Args:
            images: Protected, in [0, 1], shape ``[B, 3, H, W]``.
            references: Index of the reference answer or ``-1``, shape ``[B, Q]``.
            generator: Source of randomness.

        Returns:
            Shape ``[B]``; 0 is best, about 1 where answers are no better than a guess.
        """

    def posteriors(self, images: Tensor) -> Tensor:
        """Expected answers of the chat model, probabilities of shape ``[B, Q, V]``, without a gradient."""


class DistilledStudent:
    r"""A small local student of the chat model, fitted on the history of paid queries (our default).

    The student :math:`S_\phi(x, q)` is fitted by cross-entropy on the replayed history, several steps per protector
    step, anchored by the user's labelled images. The utility loss is its cross-entropy with the reference answer, in
    units of a guess,

    .. math:: L_u(x) = \frac{1}{|Q_x|} \sum_{q \in Q_x} \frac{-\log S_\phi(y_q \mid x, q)}{\log K_q}

    Every paid query is reused many times; finite differences would need thousands of queries for one gradient of this
    dimension. Slight noise on its inputs keeps the protector from exploiting it.

    Args:
        space: Questions and answers.
        labelled: Images for the anchor and for :meth:`pretrain`.
        history: Memory of the paid queries.
        steps: Student steps per call of :meth:`fit`.
        batch: Records and, as many again, labelled images per student step.
        learning_rate: For AdamW.
        noise: Standard deviation of the input noise, in units of the pixel range.
    """

    def __init__(
        self,
        space: AnswerSpace,
        labelled: LabelledImages,
        history: CriticalHistory,
        *,
        steps: int = 3,
        batch: int = 32,
        learning_rate: float = 1e-3,
        noise: float = 0.02,
    ) -> None:
        self.history = history
        self._space, self._labelled = space, labelled
        self._steps, self._batch, self._noise = steps, batch, noise
        self._sizes = space.candidates.sum(dim=1).clamp(min=2)
        self.network = Reader(question_vectors(space.questions), len(space.answers))
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=learning_rate, weight_decay=1e-2)

    def pretrain(
        self, steps: int, *, learning_rate: float, generator: torch.Generator, progress: Callable[[], None]
    ) -> None:
        """Learn the questions from the labelled images alone; costs no query."""
        pretrain_reader(
            self.network,
            self._anchor_loss,
            steps,
            learning_rate=learning_rate,
            generator=generator,
            progress=progress,
        )

    def observe(self, records: Records) -> None:
        """See :meth:`UtilityEstimator.observe`."""
        self.history.add(records)

    def fit(self, *, generator: torch.Generator) -> dict[str, float]:
        """See :meth:`UtilityEstimator.fit`; does nothing while the history is empty."""
        if not len(self.history):
            return {}
        self.network.train()
        replayed = torch.zeros(())
        for _ in range(self._steps):
            positions, records, weights = self.history.sample(self._batch, generator=generator)
            anchor, references = self._draw_labelled(self._batch // 2, generator)
            images = torch.cat([self._perturbed(records.images, generator), anchor])
            logits = self._masked(self.network(images))
            chosen = logits[torch.arange(self._batch), records.questions]
            log_posterior = chosen.log_softmax(dim=-1).masked_fill(~chosen.isfinite(), 0.0)
            losses = -(records.targets * log_posterior).sum(dim=-1)
            entropy = -(records.targets * records.targets.clamp(min=1e-8).log()).sum(dim=-1)
            # The excess over the answer's own entropy: an uncertain answer that the student reproduces is not critical.
            self.history.update(positions, losses - entropy)
            loss = (weights * losses).mean() + 0.5 * self._reference_loss(logits[self._batch :], references)
            _step(self.network, self.optimizer, loss)
            replayed = losses.detach().mean()
        return {"student_loss": float(replayed)}

    def loss(self, images: Tensor, references: Tensor, *, generator: torch.Generator) -> Tensor:
        """See :meth:`UtilityEstimator.loss`."""
        self.network.eval()
        # The chat model does not care where exactly a pattern sits; a protector that does is fooling the student.
        perturbed = augment(images, noise=self._noise, generator=generator)
        log_posterior = self._masked(self.network(perturbed)).log_softmax(dim=-1)
        asked = references >= 0
        losses = -log_posterior.gather(-1, references.clamp(min=0)[..., None])[..., 0] / self._sizes.log()
        return losses.masked_fill(~asked, 0.0).sum(dim=1) / asked.sum(dim=1).clamp(min=1)

    @torch.no_grad()
    def posteriors(self, images: Tensor) -> Tensor:
        """See :meth:`UtilityEstimator.posteriors`."""
        self.network.eval()
        return self._masked(self.network(images)).softmax(dim=-1)

    def state_dict(self) -> dict[str, Any]:
        """Network, optimizer and the history's own state."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any], records: Records | None) -> None:
        """Restore; ``records`` are all those ever observed, in order, or ``None`` if there were none."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if records is not None:
            self.history.load_state_dict(state["history"], records)

    def _masked(self, logits: Tensor) -> Tensor:
        return logits.masked_fill(~self._space.candidates, -math.inf)

    def _anchor_loss(self, generator: torch.Generator) -> Tensor:
        images, references = self._draw_labelled(2 * self._batch, generator)
        return self._reference_loss(self._masked(self.network(images)), references)

    def _reference_loss(self, logits: Tensor, references: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits.flatten(0, 1), references.flatten(), ignore_index=-1)

    def _draw_labelled(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(self._labelled.images), (count,), generator=generator)
        return self._perturbed(self._labelled.images[rows], generator), self._labelled.references[rows]

    def _perturbed(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return augment(images.float() / 255, noise=self._noise, generator=generator)


def augment(images: Tensor, *, noise: float, generator: torch.Generator) -> Tensor:
    """Shift a batch by up to a sixteenth, change each image's brightness slightly and add noise.

    Args:
        images: In [0, 1], shape ``[B, 3, H, W]``.
        noise: Standard deviation, in units of the pixel range.
        generator: Source of randomness.

    Returns:
        Same shape and range; differentiable in ``images``.
    """
    reach = max(1, images.shape[-1] // 16)
    down, right = (int(shift) for shift in torch.randint(-reach, reach + 1, (2,), generator=generator))
    pixels = images.roll((down, right), dims=(-2, -1))
    gain = 1 + 0.1 * torch.randn(len(images), 1, 1, 1, generator=generator)
    return (pixels * gain + noise * torch.randn(pixels.shape, generator=generator)).clamp(0, 1)


def pretrain_reader(
    network: nn.Module,
    loss: Callable[[torch.Generator], Tensor],
    steps: int,
    *,
    learning_rate: float,
    generator: torch.Generator,
    progress: Callable[[], None],
) -> None:
    """Minimise a loss with AdamW under a one-cycle schedule."""
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=max(steps, 10), pct_start=0.2
    )
    for _ in range(steps):
        _step(network, optimizer, loss(generator))
        schedule.step()
        progress()


def _step(network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
