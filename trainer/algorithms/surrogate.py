"""Distilled student: a small local network that answers as the black-box chat model does and gives its gradients."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import torch
from torch import Tensor, nn

from trainer.algorithms.augmentation import augment, coarsen
from trainer.algorithms.critical_history import CriticalHistory, record_criticality
from trainer.algorithms.interface import (
    AnswerSpace,
    LabelledImages,
    Probes,
    Records,
    mean_reference_loss,
    no_probes,
)
from trainer.algorithms.query_choice import choose_queries, expected_disagreement, query_criticality
from trainer.algorithms.vqa_network import VQANetwork, question_vectors
from trainer.runtime.checkpoint import fits
from trainer.runtime.optim import SHORTEST_CYCLE, OneCycle, descend, fit

if TYPE_CHECKING:
    from collections.abc import Callable

QueryChoice = Literal["critical", "disagreement", "uniform"]
_CLIP = 1.0
_AUDITED: Final = 0.25
"""Share of the queries by disagreement that are chosen uniformly, so that where the student is wrongly sure of the
chat model's answer is found too."""


class StudentSettings(NamedTuple):
    """Settings of a :class:`DistilledStudent`."""

    steps: int = 3
    """Student steps per call of :meth:`DistilledStudent.fit`."""
    batch: int = 32
    """Records per student step. Half as many labelled images are added."""
    learning_rate: float = 1e-3
    """Learning rate of AdamW."""
    noise: float = 0.02
    """Standard deviation of the input noise, in units of the pixel range."""
    query_choice: QueryChoice = "critical"
    """Ask first where the student's answer is about to flip, or where it has learned to differ from a student of the
    labels alone; or choose uniformly."""
    width: int = 96
    """Channels of the student's last convolutions."""
    anchor: float = 0.5
    """Weight of the labelled images in :meth:`DistilledStudent.fit`."""
    ladder: bool = False
    """Whether the student meets the labelled images at several resolutions, from the second half of its pretraining."""
    questions_per_call: int = 1
    """Questions about one image that one request may hold."""


class DistilledStudent:
    r"""Utility estimator that fits a small student on the history of paid queries (our default).

    The student :math:`S_\phi(x, q)` is fitted by cross-entropy on the replayed history, several steps per protector
    step, anchored by the user's labelled images. The utility loss is its cross-entropy with the reference answer, where
    1 is the loss of a guess,

    .. math:: L_u(x) = \frac{1}{|Q_x|} \sum_{q \in Q_x} \frac{-\log S_\phi(y_q \mid x, q)}{\log K_q}

    Every paid query is reused many times; finite differences would need thousands of queries for one gradient of this
    dimension. Slight noise on the student's inputs keeps the protector from exploiting it.

    Args:
        space: Questions and answers.
        labelled: Images for the anchor and for :meth:`pretrain`.
        history: Memory of the paid queries.
        settings: Sizes and rates.
        network: Student that can answer already, for example one trained on similar pictures, in place of a new
            :class:`~trainer.algorithms.vqa_network.VQANetwork`. Maps images ``[B, 3, H, W]`` in [0, 1] to logits
            ``[B, Q, V]``. :meth:`pretrain` leaves it as it is.

    Attributes:
        history: Memory of the paid queries.
        network: The student.
    """

    def __init__(
        self,
        space: AnswerSpace,
        labelled: LabelledImages,
        history: CriticalHistory,
        settings: StudentSettings | None = None,
        *,
        network: nn.Module | None = None,
    ) -> None:
        self.history = history
        self._space, self._labelled, self._sizes = space, labelled, space.sizes
        self._settings = settings or StudentSettings()
        self._is_given = network is not None
        self._prior: nn.Module | None = None
        """The student as it was before the first answer, to see where answers have changed it."""
        new = (
            VQANetwork(
                question_vectors(space.questions),
                len(space.answers),
                width=self._settings.width,
                moving=labelled.images.ndim == 5,
            )
            if network is None
            else network
        )
        self.network = new.to(memory_format=torch.channels_last)
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=self._settings.learning_rate, weight_decay=1e-2
        )

    @property
    def min_queries(self) -> int:
        """Queries of one whole request."""
        return self._settings.questions_per_call

    def pretrain(
        self, steps: int, *, learning_rate: float, generator: torch.Generator, progress: Callable[[], None]
    ) -> None:
        """Learn the questions from the labelled images alone, unless a network was given; costs no query."""
        if self._is_given:
            return
        self.network.train()
        descent = OneCycle(
            self.network.parameters(),
            steps=max(steps, SHORTEST_CYCLE),
            learning_rate=learning_rate,
            clip=_CLIP,
        )
        # Sharp pictures first: a student that meets all resolutions at once learns nothing for hundreds of steps.
        coarse = (self._settings.ladder and 2 * step >= steps for step in range(steps * self._has_labels))
        fit(
            descent,
            lambda coarse: self._labels_loss(generator, coarse=coarse),
            coarse,
            on_step=lambda _, __: progress(),
        )
        if self._settings.query_choice == "disagreement":
            self._prior = copy.deepcopy(self.network).eval()

    def begin_with(self, network: VQANetwork) -> None:
        """Take over what a network has learned to see, unless a network was given; its answers are not taken over.

        Args:
            network: Network with a trunk like the student's.
        """
        if not self._is_given and isinstance(self.network, VQANetwork):
            self.network.see_as(network)

    def propose(
        self, images: Tensor, references: Tensor, quota: int, *, generator: torch.Generator
    ) -> Probes:
        """Propose protected images as they are, each with the question that is most worth asking."""
        pairs = (references >= 0).nonzero()
        if not (quota and len(pairs)):
            return no_probes(images, references)
        chosen = choose_queries(
            self._criticality(images, generator)[pairs[:, 0], pairs[:, 1]],
            pairs[:, 0],
            quota,
            questions_per_call=self._settings.questions_per_call,
            generator=generator,
        )
        rows, questions = pairs[chosen].unbind(1)
        return Probes(images[rows], rows, questions, torch.arange(len(chosen)))

    def observe(self, records: Records, probes: Probes) -> None:  # noqa: ARG002  records say it all
        """Add the answers to the history."""
        self.history.add(records)

    def fit(self, *, generator: torch.Generator) -> dict[str, float]:
        """Fit the student on the history, a few steps; on the labels, as :meth:`pretrain` does, while it is empty."""
        if not len(self.history):
            return self._fit_on_labels(generator)
        self.network.train()
        batch, replayed = self._settings.batch, torch.zeros(())
        for _ in range(self._settings.steps):
            positions, records, weights = self.history.sample(batch, generator=generator)
            anchor, references = self._draw_labelled(batch // 2 if self._has_labels else 0, generator)
            logits = self._masked(
                self.network(torch.cat([self._perturbed(records.images, generator), anchor]))
            )
            chosen = logits[torch.arange(batch), records.questions]
            log_posterior = chosen.log_softmax(dim=-1).masked_fill(~chosen.isfinite(), 0.0)
            losses = -(records.targets * log_posterior).sum(dim=-1)
            self.history.update(positions, record_criticality(chosen.detach(), records.targets))
            loss = (weights * losses).mean()
            if len(anchor):
                loss = loss + self._settings.anchor * _reference_loss(logits[batch:], references)
            descend(self._optimizer, loss, clip=_CLIP)
            replayed = losses.detach().mean()
        return {"student_loss": float(replayed)}

    def _fit_on_labels(self, generator: torch.Generator) -> dict[str, float]:
        """Fit the student on labelled images, a few steps; does nothing without any, or with a given network."""
        if self._is_given or not self._has_labels:
            return {}
        self.network.train()
        loss = torch.zeros(())
        for _ in range(self._settings.steps):
            loss = self._labels_loss(generator, coarse=self._settings.ladder)
            descend(self._optimizer, loss, clip=_CLIP)
        return {"student_loss": float(loss.detach())}

    def loss(self, images: Tensor, references: Tensor, *, generator: torch.Generator) -> Tensor:
        """Return the student's loss of the reference answers, shape ``[B]``; see the class."""
        self.network.eval()
        # The chat model does not care where exactly a pattern sits; a protector that does is fooling the student.
        perturbed = augment(images, noise=self._settings.noise, generator=generator)
        log_posterior = self._masked(self.network(perturbed)).log_softmax(dim=-1)
        return mean_reference_loss(log_posterior, references, self._sizes)

    @torch.no_grad()
    def posteriors(self, images: Tensor) -> Tensor:
        """Return the student's probabilities, shape ``[B, Q, V]``."""
        self.network.eval()
        return self._masked(self.network(images)).softmax(dim=-1)

    def state_dict(self) -> dict[str, Any]:
        """Return the states of network, optimizer and history."""
        state = {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "history": self.history.state_dict(),
        }
        return state if self._prior is None else state | {"prior": self._prior.state_dict()}

    def load_state_dict(self, state: dict[str, Any], recall: Callable[[], Records | None]) -> None:
        """Restore the student, unless it was of another shape.

        Its history starts empty if ``recall`` returns no pictures.
        """
        if fits(self.network, state["network"]):
            self.network.load_state_dict(state["network"])
            self._optimizer.load_state_dict(state["optimizer"])
            if "prior" in state:
                self._prior = copy.deepcopy(self.network).eval()
                self._prior.load_state_dict(state["prior"])
        records = recall() if int(state["history"]["added"]) else None
        if records is not None:
            self.history.load_state_dict(state["history"], records)

    def _criticality(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return how much each question about each image is worth asking, in [0, 1], shape ``[B, Q]``."""
        nothing = torch.zeros(len(images), len(self._sizes))
        if self._settings.query_choice == "uniform":
            return nothing
        posteriors = self.posteriors(images)
        if self._prior is None:
            return query_criticality(posteriors)
        with torch.no_grad():
            before = self._masked(self._prior(images)).softmax(dim=-1)
        differs = expected_disagreement(posteriors, before)
        audited = torch.rand(differs.shape, generator=generator) < _AUDITED
        return torch.where(audited, nothing, differs)

    def _masked(self, logits: Tensor) -> Tensor:
        return logits.masked_fill(~self._space.candidates, -math.inf)

    def _labels_loss(self, generator: torch.Generator, *, coarse: bool) -> Tensor:
        images, references = self._draw_labelled(2 * self._settings.batch, generator)
        if coarse:
            images = coarsen(images, generator=generator)
        return _reference_loss(self._masked(self.network(images)), references)

    @property
    def _has_labels(self) -> bool:
        return bool((self._labelled.references >= 0).any())

    def _draw_labelled(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw images of which at least one reference is known."""
        known = (self._labelled.references >= 0).any(dim=1).nonzero()[:, 0]
        rows = known[torch.randint(max(1, len(known)), (count,), generator=generator)]
        return self._perturbed(self._labelled.images[rows], generator), self._labelled.references[rows]

    def _perturbed(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return augment(images.float() / 255, noise=self._settings.noise, generator=generator)


class LabelOnlyStudent(DistilledStudent):
    """Utility estimator that asks nothing: a student of the user's own labelled images, at several resolutions.

    It is the baseline that paid answers must exceed, since a chat model that answers as the labels do tells nothing
    new.

    Args:
        space: Questions and answers.
        labelled: Images to learn from.
        settings: Sizes and rates.
    """

    min_queries = 0

    def __init__(
        self, space: AnswerSpace, labelled: LabelledImages, settings: StudentSettings | None = None
    ) -> None:
        several = (settings or StudentSettings())._replace(ladder=True)
        super().__init__(space, labelled, CriticalHistory(1), several)

    def propose(
        self,
        images: Tensor,
        references: Tensor,
        quota: int,  # noqa: ARG002  the protocol's
        *,
        generator: torch.Generator,  # noqa: ARG002
    ) -> Probes:
        """Propose nothing."""
        return no_probes(images, references)


def _reference_loss(logits: Tensor, references: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits.flatten(0, 1), references.flatten(), ignore_index=-1)
