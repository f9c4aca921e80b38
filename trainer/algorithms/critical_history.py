r"""History of paid queries, replayed by how critical they are to the student.

The paper's abstract claims that a *critical history enhanced optimisation* makes black-box learning work; we could not
obtain its equations. Our reading: a paid query is worth most where the student, which stands in for the chat model, is
wrong or unsure about it. Criticality is used in three places.

- **Keeping**: every record stays until the memory is full; then the least critical makes room
  (:class:`CriticalHistory`).
- **Replay**: critical records are replayed more often, with an importance correction that keeps the fit unbiased
  (:meth:`CriticalHistory.sample`). ``replay="uniform"`` replays all alike, the control that criticality has to beat.
- **Asking**: (image, question) pairs where the student's answer is about to flip are asked first
  (:mod:`trainer.algorithms.query_choice`).

Nearest literature, and our deviations:

- McRae et al., *Memory Augmented Optimizers for Deep Learning* (ICLR 2022), keep the few past gradients of the largest
  norm and add them to the current one. A gradient ages as the protector moves; a *query* does not. We keep the queries
  and let the student turn each into a gradient for the current protector. Their memory itself is
  :class:`trainer.algorithms.zeroth_order.CriticalGradients`.
- Schaul et al., *Prioritized Experience Replay* (ICLR 2016): the exponent on criticality and the importance weights are
  theirs. We add a uniform share in place of annealing the correction, which bounds the weights by its inverse, and keep
  the correction whole.
- Cheng et al. (NeurIPS 2019 and 2021) guide random gradient-free estimates by a prior, in the later paper by the last
  estimate; Oh et al. (BlackVIP, CVPR 2023) by momentum. Both remember one direction; a history remembers every answer.
"""

from __future__ import annotations

from typing import Final, Literal

import torch
from torch import Tensor

from trainer.algorithms.interface import Records

Replay = Literal["critical", "critical-uncorrected", "recent", "uniform"]
_NEWEST: Final = 200
"""Records that count as recent."""


class CriticalHistory:
    """Bounded memory of records with a criticality each.

    The owner of the student sets criticality (:meth:`update`). A new record gets the highest there is, so that it is
    replayed soon. When the memory is full, the least critical record makes room, the oldest of equals first; under
    uniform and recent replay the oldest.

    Args:
        capacity: Most records kept.
        sharpness: Exponent of criticality in the replay probability; 0 replays uniformly.
        uniform: Share of every replay that is drawn uniformly, in (0, 1], so that no record is forgotten.
        replay: ``"critical-uncorrected"`` leaves out the importance correction, so that critical records count more.
            ``"recent"`` draws the share that is not uniform from the newest 200 records, whose pictures are most like
            those that the protector makes now, without a correction. ``"uniform"`` ignores both.

    Raises:
        ValueError: If an argument is outside its range.
    """

    def __init__(
        self,
        capacity: int,
        *,
        sharpness: float = 0.5,
        uniform: float = 0.5,
        replay: Replay = "critical",
    ) -> None:
        if capacity < 1 or sharpness < 0 or not 0 < uniform <= 1:
            raise ValueError("capacity must be positive, sharpness not negative, and uniform in (0, 1]")
        self.capacity, self.sharpness, self.uniform, self.replay = capacity, sharpness, uniform, replay
        self._slots: Records | None = None
        """Storage; the first ``len(self)`` rows are in use."""
        self._criticality = torch.empty(0)
        self._order = torch.empty(0, dtype=torch.long)
        """Number of records that were added before each record in use."""
        self._added = 0

    def __len__(self) -> int:
        return len(self._criticality)

    def add(self, records: Records) -> None:
        """Remember answered queries."""
        count, used = len(records.questions), len(self)
        highest = float(self._criticality.max()) if used else 1.0
        criticality = torch.cat([self._criticality, torch.full((count,), highest)])
        order = torch.cat([self._order, torch.arange(self._added, self._added + count)])
        self._added += count
        leaving = self._least_critical(criticality, order, used + count - self.capacity)
        arriving = torch.arange(used, used + count)
        arriving = arriving[~torch.isin(arriving, leaving)]
        # New records take freed slots, so that a full memory is not copied for each of them.
        freed = leaving[leaving < used]
        slots = torch.cat([freed, torch.arange(used, used + len(arriving) - len(freed))])
        kept = used + len(arriving) - len(freed)
        storage = self._storage(records, kept)
        for column, new in zip(storage, records, strict=True):
            column[slots] = new[arriving - used]
        criticality[slots], order[slots] = criticality[arriving], order[arriving]
        self._slots, self._criticality, self._order = storage, criticality[:kept], order[:kept]

    def sample(self, count: int, *, generator: torch.Generator) -> tuple[Tensor, Records, Tensor]:
        r"""Draw records for replay, with replacement.

        .. math:: p_i = u \frac1N + (1 - u) \frac{c_i^s}{\sum_j c_j^s}, \qquad w_i = \frac{1}{N p_i}

        Returns:
            Positions ``[count]`` for :meth:`update`, the records, and importance weights ``[count]`` whose mean loss
            is an unbiased estimate of the mean over the whole history; 1 where nothing is corrected.

        Raises:
            ValueError: If the history is empty.
        """
        if self._slots is None or not len(self):
            raise ValueError("the history is empty")
        preferred = self._preferred()
        probability = self.uniform / len(self) + (1 - self.uniform) * preferred / preferred.sum()
        positions = torch.multinomial(probability, count, replacement=True, generator=generator)
        weights = 1 / (len(self) * probability[positions])
        if self.replay in {"critical-uncorrected", "recent"}:
            weights = torch.ones_like(weights)
        return positions, Records(*(column[positions] for column in self._slots)), weights

    def update(self, positions: Tensor, criticality: Tensor) -> None:
        """Set the criticality of replayed records.

        Args:
            positions: From :meth:`sample`, shape ``[count]``.
            criticality: See :func:`record_criticality`, shape ``[count]``.
        """
        self._criticality[positions] = criticality.detach().to(self._criticality)

    def state_dict(self) -> dict[str, Tensor]:
        """Return whatever the ledger can't tell: the records that are kept, by number, and their criticality."""
        return {"order": self._order, "criticality": self._criticality, "added": torch.tensor(self._added)}

    def load_state_dict(self, state: dict[str, Tensor], records: Records) -> None:
        """Restore the history.

        Args:
            state: From :meth:`state_dict`.
            records: All records ever added, in order.

        Raises:
            ValueError: If the number of records differs from the number added.
        """
        if len(records.questions) != int(state["added"]):
            raise ValueError(f"{int(state['added'])} records were added, {len(records.questions)} given")
        self._order, self._criticality = state["order"], state["criticality"]
        self._added = int(state["added"])
        self._slots = Records(*(column[self._order] for column in records))

    def _preferred(self) -> Tensor:
        """Weight of each record in the share of a replay that is not uniform, shape ``[N]``."""
        if self.replay == "recent":
            return (self._order >= self._added - _NEWEST).float().clamp(min=1e-6)
        sharpness = 0.0 if self.replay == "uniform" else self.sharpness
        return self._criticality.clamp(min=1e-6) ** sharpness

    def _least_critical(self, criticality: Tensor, order: Tensor, count: int) -> Tensor:
        """Return the positions of the ``count`` records that leave first; none if ``count`` is not positive."""
        by_age = order.argsort()
        if self.replay in {"critical", "critical-uncorrected"}:
            by_age = by_age[criticality[by_age].argsort(stable=True)]
        return by_age[: max(count, 0)].sort().values

    def _storage(self, records: Records, rows: int) -> Records:
        """Return storage with room for ``rows`` records, grown by doubling."""
        if self._slots is not None and len(self._slots.questions) >= rows:
            return self._slots
        room = min(self.capacity, max(rows, 2 * len(self)))
        larger = Records(*(column.new_zeros((room, *column.shape[1:])) for column in records))
        if self._slots is not None:
            for new, old in zip(larger, self._slots, strict=True):
                new[: len(self)] = old[: len(self)]
        return larger


def record_criticality(logits: Tensor, targets: Tensor) -> Tensor:
    r"""Score answered queries by the student's loss above the answer's own entropy.

    .. math:: \sum_v t_v \log \frac{t_v}{p_v}

    for the student's posterior :math:`p` and the chat model's answer :math:`t`. An uncertain answer that the student
    reproduces is not critical.

    Args:
        logits: The student's logits, shape ``[N, V]``, ``-inf`` where an answer is not offered.
        targets: The chat model's answers as distributions, shape ``[N, V]``.

    Returns:
        Not negative up to rounding, shape ``[N]``.
    """
    log_posterior = logits.log_softmax(dim=-1).masked_fill(~logits.isfinite(), 0.0)
    entropy = -(targets * targets.clamp(min=1e-8).log()).sum(dim=-1)
    return -(targets * log_posterior).sum(dim=-1) - entropy
