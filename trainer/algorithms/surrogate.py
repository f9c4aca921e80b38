"""Utility gradients from a chat model that only answers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from trainer.algorithms.admission import choose_queries, query_criticality, query_disagreement
from trainer.algorithms.augmentation import augment
from trainer.algorithms.critical_history import record_criticality
from trainer.algorithms.interface import AnswerSpace, LabelledImages, Probes, no_probes
from trainer.algorithms.vqa_network import VQANetwork, question_vectors

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.algorithms.critical_history import CriticalHistory, RecordScore
    from trainer.algorithms.interface import Records

QueryChoice = Literal["critical", "disagreement", "uniform"]
_VIEWS = 4
"""Views of an image over which the student may disagree with itself."""


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
        query_choice: What is asked first: where the answer is about to flip, where the student disagrees with itself
            over views of the image, or anything.
        network: A student that has learned already, for example on pictures of the same kind that the user drew or
            labelled, in place of a new :class:`~trainer.algorithms.vqa_network.VQANetwork`: maps images ``[B, 3, H, W]`` in
            [0, 1] to logits ``[B, Q, V]``. :meth:`pretrain` leaves it as it is.
        questions_per_call: Questions about one image that one request may hold.
        criticality: How records of the history are scored; see
            :func:`~trainer.algorithms.critical_history.record_criticality`.
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
        query_choice: QueryChoice = "critical",
        questions_per_call: int = 1,
        criticality: RecordScore = "loss",
        network: nn.Module | None = None,
    ) -> None:
        self.history = history
        self._space, self._labelled = space, labelled
        self._steps, self._batch, self._noise = steps, batch, noise
        self._sizes = space.sizes
        self._query_choice, self._questions_per_call, self._criticality = (
            query_choice,
            questions_per_call,
            criticality,
        )
        self._is_given = network is not None
        new = (
            VQANetwork(question_vectors(space.questions), len(space.answers)) if network is None else network
        )
        self.network = new.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=learning_rate, weight_decay=1e-2)

    @property
    def min_queries(self) -> int:
        """One whole request."""
        return self._questions_per_call

    def pretrain(
        self, steps: int, *, learning_rate: float, generator: torch.Generator, progress: Callable[[], None]
    ) -> None:
        """Learn the questions from the labelled images alone, unless a given network knows them; costs no query."""
        if self._is_given:
            return
        pretrain_network(
            self.network,
            self._anchor_loss,
            steps,
            learning_rate=learning_rate,
            generator=generator,
            progress=progress,
        )

    def propose(
        self, images: Tensor, references: Tensor, quota: int, *, generator: torch.Generator
    ) -> Probes:
        """Propose the protected images themselves, each with the question that is most worth asking."""
        pairs = (references >= 0).nonzero()
        if not (quota and len(pairs)):
            return no_probes(images, references)
        criticality = self._query_criticality(images, generator)[pairs[:, 0], pairs[:, 1]]
        chosen = choose_queries(
            criticality, pairs[:, 0], quota, questions_per_call=self._questions_per_call, generator=generator
        )
        rows, questions = pairs[chosen].unbind(1)
        return Probes(images[rows], rows, questions, torch.arange(len(chosen)))

    def observe(self, records: Records, probes: Probes) -> None:  # noqa: ARG002  records say it all
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
            scored = record_criticality(chosen.detach(), records.targets, self._criticality)
            self.history.update(positions, scored)
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

    def load_state_dict(self, state: dict[str, Any], recall: Callable[[], Records | None]) -> None:
        """See :meth:`UtilityEstimator.load_state_dict`; without the pictures the history starts empty."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        records = recall() if int(state["history"]["added"]) else None
        if records is not None:
            self.history.load_state_dict(state["history"], records)

    def _query_criticality(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """In [0, 1], shape ``[B, Q]``."""
        if self._query_choice == "critical":
            return query_criticality(self.posteriors(images))
        if self._query_choice == "disagreement":
            views = [augment(images, noise=self._noise, generator=generator) for _ in range(_VIEWS)]
            return query_disagreement(torch.stack([self.posteriors(view) for view in views]))
        return torch.zeros(len(images), len(self._sizes))

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


def pretrain_network(
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
