r"""The history of paid queries, what makes a record critical, and how it steers learning.

The paper claims that critical records of the optimisation history should steer black-box learning. Our reading: a
paid query is worth most where the student, which stands in for the chat model, is wrong or unsure about it. That is
used twice: to *replay* the records that the student still gets wrong more often (with an importance correction, so
that the fit stays unbiased), and to *choose* the next queries where its answer is about to flip.

Nearest literature: critical gradients (McRae et al., ICLR 2022) keep a memory of the past gradients that mattered most;
prioritised replay (Schaul et al., ICLR 2016) is where the sampling and its correction come from. We replay the queries
behind the gradients, not the gradients, because the student turns any record into a gradient for the current protector.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Records(NamedTuple):
    """Answered queries."""

    images: Tensor
    """The pictures as the chat model saw them, ``uint8``, shape ``[N, 3, H, W]``."""
    questions: Tensor
    """Index of the question, ``int64``, shape ``[N]``."""
    targets: Tensor
    """The chat model's answer as a distribution over the answer vocabulary, shape ``[N, V]``."""


class CriticalHistory:
    """A bounded memory of records with a criticality each.

    Criticality is the student's latest loss on a record; a new record has the highest there is, to be seen soon.
    When the memory is full, the least critical record makes room.

    Args:
        capacity: Most records kept.
        sharpness: Exponent of criticality in the replay probability; 0 replays uniformly.
        uniform: Share of every replay that is drawn uniformly, so that no record is forgotten.
    """

    def __init__(self, capacity: int, *, sharpness: float = 0.5, uniform: float = 0.5) -> None:
        if capacity < 1 or sharpness < 0 or not 0 < uniform <= 1:
            raise ValueError("capacity must be positive, sharpness not negative, and uniform in (0, 1]")
        self.capacity, self.sharpness, self.uniform = capacity, sharpness, uniform
        self._records: Records | None = None
        self._criticality = torch.empty(0)
        self._order = torch.empty(0, dtype=torch.long)
        self._added = 0

    def __len__(self) -> int:
        return len(self._criticality)

    def add(self, records: Records) -> None:
        """Remember answered queries, as the newest."""
        highest = float(self._criticality.max()) if len(self) else 1.0
        count = len(records.questions)
        self._criticality = torch.cat([self._criticality, torch.full((count,), highest)])
        self._order = torch.cat([self._order, torch.arange(self._added, self._added + count)])
        self._added += count
        old = self._records
        self._records = (
            records if old is None else Records(*(torch.cat(pair) for pair in zip(old, records, strict=True)))
        )
        if len(self) > self.capacity:
            self._keep(self._criticality.argsort(descending=True, stable=True)[: self.capacity].sort().values)

    def sample(self, count: int, *, generator: torch.Generator) -> tuple[Tensor, Records, Tensor]:
        r"""Draw records for replay, with replacement.

        .. math:: p_i = u \frac1N + (1 - u) \frac{c_i^s}{\sum_j c_j^s}, \qquad w_i = \frac{1}{N p_i}

        Returns:
            Positions ``[count]`` for :meth:`update`, the records, and importance weights ``[count]`` whose mean loss
            is an unbiased estimate of the mean over the whole history.

        Raises:
            ValueError: If the history is empty.
        """
        if self._records is None or not len(self):
            raise ValueError("the history is empty")
        powered = self._criticality.clamp(min=1e-6) ** self.sharpness
        probability = self.uniform / len(self) + (1 - self.uniform) * powered / powered.sum()
        positions = torch.multinomial(probability, count, replacement=True, generator=generator)
        weights = 1 / (len(self) * probability[positions])
        return positions, Records(*(column[positions] for column in self._records)), weights

    def update(self, positions: Tensor, losses: Tensor) -> None:
        """Set the criticality of replayed records to the student's loss on them."""
        self._criticality[positions] = losses.detach().to(self._criticality)

    def state_dict(self) -> dict[str, Tensor]:
        """What can't be derived from the ledger: which of the records ever added are kept, and their criticality."""
        return {"order": self._order, "criticality": self._criticality, "added": torch.tensor(self._added)}

    def load_state_dict(self, state: dict[str, Tensor], records: Records) -> None:
        """Restore a history.

        Args:
            state: From :meth:`state_dict`.
            records: *All* records ever added, in order.

        Raises:
            ValueError: If there are not as many records as were added.
        """
        if len(records.questions) != int(state["added"]):
            raise ValueError(f"{int(state['added'])} records were added, {len(records.questions)} given")
        self._order, self._criticality = state["order"], state["criticality"]
        self._added = int(state["added"])
        self._records = Records(*(column[self._order] for column in records))

    def _keep(self, positions: Tensor) -> None:
        assert self._records is not None
        self._records = Records(*(column[positions] for column in self._records))
        self._criticality, self._order = self._criticality[positions], self._order[positions]


def query_criticality(posteriors: Tensor) -> Tensor:
    """How close the student's answer is to flipping, from its posterior.

    Args:
        posteriors: Probabilities, shape ``[..., V]``.

    Returns:
        One minus the margin between the two most likely answers, in [0, 1], shape ``[...]``.
    """
    first, second = posteriors.topk(2, dim=-1).values.unbind(-1)
    return 1 - (first - second)
