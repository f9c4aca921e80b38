"""Queries of the training loop: what the estimator proposes is asked within the budget, and it observes the answers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from trainer.algorithms.interface import Probes, Records
from trainer.data.answers import as_query, is_right
from trainer.data.wire import arrived, encode
from trainer.oracle.query import PUT_ASIDE
from trainer.oracle.scoring import distribution
from trainer.training.stop_rule import StopRule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from trainer.algorithms.interface import AnswerSpace, UtilityEstimator
    from trainer.oracle.ledger import Ledger
    from trainer.oracle.oracle import Asks
    from trainer.oracle.query import Answer, Query
    from trainer.training.budget import BudgetPlan
    from trainer.training.shared import SharedAnswers

logger = logging.getLogger(__name__)

_RECENT = 200
"""Answers over which the share of right ones is reported."""


class Sent(NamedTuple):
    """A protected batch on its way to the chat model."""

    encoded: list[bytes]
    """The pictures as they are sent."""
    arrived: Tensor
    """The pictures as they arrive, in [0, 1], shape ``[B, 3, H, W]``, or clips, ``[B, T, 3, H, W]``."""
    references: Tensor
    """Index of the reference answer or ``-1``, shape ``[B, Q]``."""
    phrasings: Tensor
    """Index of the phrasing in which each question is asked, shape ``[B, Q]``."""
    names: tuple[str, ...]
    """Files of the pictures."""


class _Answered(NamedTuple):
    image: bytes
    phrasing: int
    answer: Answer


class UtilityProbing:
    """Asks what an estimator proposes, within the budget, and hands it the answers.

    Args:
        plan: Division of the budget.
        space: Questions and answers.
        estimator: Estimator to serve.
        oracle: Where queries are asked.
        ledger: Where the oracle records answers.

    Attributes:
        planned: Queries that were chosen so far, whether they had to be paid or not.
    """

    def __init__(
        self,
        plan: BudgetPlan,
        space: AnswerSpace,
        estimator: UtilityEstimator,
        oracle: Asks,
        ledger: Ledger | SharedAnswers,
    ) -> None:
        self._plan, self._space, self._estimator = plan, space, estimator
        self._oracle, self._ledger = oracle, ledger
        self.planned = 0
        self._saved = 0
        """Queries that were due so far and that the estimator did not use yet."""
        self._asked: list[tuple[str, int]] = []
        """Ledger key and phrasing of every record that the estimator observed, in order."""
        self._right: list[float] = []
        self._stop_rule = StopRule()

    @property
    def accuracy(self) -> float | None:
        """Share of right answers among the latest; ``None`` before the first."""
        recent = self._right[-_RECENT:]
        return sum(recent) / len(recent) if recent else None

    def ask(
        self, step: int, sent: Sent, *, generator: torch.Generator, on_answer: Callable[[], None]
    ) -> None:
        """Have the estimator's probes of a batch answered, and let it observe the answers.

        Args:
            step: Steps that are finished.
            sent: The protected batch.
            generator: Source of randomness; see :func:`~trainer.training.budget.batch_generator`.
            on_answer: Called after each new answer is on disk.

        Raises:
            TrainingError: See :meth:`~trainer.oracle.oracle.Oracle.ask`.
        """
        due = self._plan.due(step, planned=self.planned, saved=self._saved, generator=generator)
        probes = self._estimator.propose(sent.arrived, sent.references, due, generator=generator)
        self._saved = due - len(probes.rows)
        if not len(probes.rows):
            return
        self.planned += len(probes.rows)
        queries = self._queries(probes, sent)
        answers = self._answers(queries, on_answer)
        known = torch.tensor([answer is not None for answer in answers])
        answered = self._note(queries, probes, answers, sent)
        if answered:
            self._estimator.observe(self._records(answered), Probes(*(column[known] for column in probes)))

    def recall(self, *, store_images: bool) -> Records | None:
        """Look up every record that the estimator observed, in order.

        Args:
            store_images: Whether the ledger holds the pictures. Without them there are no records, and the budget
                counts what was paid since the last checkpoint: another history chooses other queries, so those answers
                are not found again.

        Raises:
            LedgerError: If an answer is not in the ledger.
        """
        if not store_images:
            logger.warning(
                "pictures were not stored: the history of %d answers starts empty, the budget is kept",
                len(self._asked),
            )
            self.planned = max(self.planned, self._ledger.spent()[0])
            return None
        answered = []
        for key, phrasing in self._asked:
            image, answer = self._ledger.lookup(key)
            answered.append(_Answered(image, phrasing, answer))
        return self._records(answered)

    def state_dict(self) -> dict[str, Any]:
        """Counts, and the ledger keys of the records."""
        return {
            "planned": self.planned,
            "saved": self._saved,
            "asked": self._asked,
            "right": self._right,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from :meth:`state_dict`."""
        self.planned, self._saved = state["planned"], state["saved"]
        self._asked, self._right = state["asked"], state["right"]

    def _answers(self, queries: Sequence[Query], on_answer: Callable[[], None]) -> list[Answer | None]:
        """Have queries answered; raises an :class:`~langchain_vpp.errors.OracleError` if no answer can be used."""
        answers: list[Answer | None] = []
        for part in self._stop_rule.parts(queries):
            known = self._ledger.known(part)
            answered = self._oracle.ask(part, purpose="train", on_answer=on_answer)
            self._stop_rule.note(part, known, answered)
            answers += answered
        return answers

    def _queries(self, probes: Probes, sent: Sent) -> list[Query]:
        """Encode the probes, except pictures of the batch: to encode what arrived once more would change it."""
        queries = []
        for image, row, question in zip(
            probes.images, probes.rows.tolist(), probes.questions.tolist(), strict=True
        ):
            encoded = (
                sent.encoded[row] if torch.equal(image, sent.arrived[row]) else encode(image[None])[0][0]
            )
            queries.append(as_query(self._space, encoded, int(sent.phrasings[row, question])))
        return queries

    def _note(
        self, queries: Sequence[Query], probes: Probes, answers: Sequence[Answer | None], sent: Sent
    ) -> list[_Answered]:
        """Note the keys and scores of the answers that arrived."""
        answered = []
        pairs = zip(probes.rows.tolist(), probes.questions.tolist(), strict=True)
        for query, (row, question), answer in zip(queries, pairs, answers, strict=True):
            if answer is not None:
                if answer.text == PUT_ASIDE:
                    logger.warning("%s: the provider failed on this picture again and again", sent.names[row])
                phrasing = int(sent.phrasings[row, question])
                answered.append(_Answered(query.image, phrasing, answer))
                self._asked.append((self._ledger.key(query), phrasing))
                self._right.append(
                    is_right(self._space, answer, phrasing, int(sent.references[row, question]))
                )
        return answered

    def _records(self, answered: Sequence[_Answered]) -> Records:
        """Build records of one or more answers."""
        targets = torch.zeros(len(answered), len(self._space.answers))
        asked = [self._space.phrasings[each.phrasing] for each in answered]
        for row, phrasing, each in zip(targets, asked, answered, strict=True):
            row[list(phrasing.columns)] = torch.tensor(distribution(each.answer, phrasing.choices))
        images = torch.stack([arrived(each.image) for each in answered])
        return Records(images, torch.tensor([phrasing.question for phrasing in asked]), targets)
