"""Requests on which a provider fails again and again, while it answers others."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from trainer.oracle.retry import describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.oracle.batching import BatchedModel
    from trainer.oracle.gate import Gate
    from trainer.oracle.ledger import Ledger
    from trainer.oracle.query import Query

logger = logging.getLogger(__name__)

_CONFIRMATIONS: Final = 2
"""Answers to other requests that must come between the last failures."""
_LATEST: Final = 48
"""Queries over which the share of those put aside is taken."""
_FEWEST: Final = 8
"""Queries before the share says anything."""


class StandingFailures:
    """Tells requests on which a provider always fails from a provider that fails.

    A request that has failed as often as requests are sent in a row may be the cause itself, such as a picture that
    crashes a decoder of the provider's. So another request, which was answered before, is sent once more between its
    next tries. If that one is answered each time, the failing one is put aside. If most requests are put aside, the
    provider fails after all.

    Args:
        model: Is asked in between.
        gate: Says when.
        ledger: Holds answered queries of earlier runs. A request in between counts against a limit on cost.
    """

    def __init__(self, model: BatchedModel, gate: Gate, ledger: Ledger) -> None:
        self._model, self._gate, self._ledger = model, gate, ledger
        self._latest: deque[bool] = deque(maxlen=_LATEST)
        """Whether each of the latest queries was answered."""
        self._answered: deque[Query] = deque(maxlen=_FEWEST)
        self._confirmations = 0

    def note_answered(self, queries: Sequence[Query]) -> None:
        """Take note of queries that were answered."""
        self._latest.extend([True] * len(queries))
        self._answered.extend(queries)

    def note_progress(self) -> None:
        """Begin to count anew: some of the failing queries were answered."""
        self._confirmations = 0

    def are_standing(self, queries: Sequence[Query], error: Exception) -> bool | None:
        """Say whether queries that fail are to be put aside.

        Args:
            queries: All that were sent in vain.
            error: Why one of them failed.

        Returns:
            True if they are; None if they are to be tried once more; False if the provider fails.
        """
        if self._is_outage(queries):
            return False
        if self._confirmations >= _CONFIRMATIONS:
            self._confirmations = 0
            self._latest.extend([False] * len(queries))
            logger.warning(
                "%d queries are put aside: the provider failed on them again and again (%s), and answered others in "
                "between. Digests of their pictures, which the ledger holds: %s",
                len(queries),
                describe(error),
                ", ".join(sorted({query.image_digest[:12] for query in queries})),
            )
            return True
        other = self._other(queries)
        if other is None or not self._is_answered(other):
            return False
        self._ledger.doubt([other])  # which is paid, and has its answer already
        self._confirmations += 1
        return None

    def _is_answered(self, query: Query) -> bool:
        try:
            self._gate.open()
            self._gate.wait()
            self._model.ask([query])
        except Exception as error:  # noqa: BLE001 - clients raise anything
            logger.warning("a query that was answered before has failed too (%s)", describe(error))
            return False
        return True

    def _is_outage(self, queries: Sequence[Query]) -> bool:
        failed = self._latest.count(False) + len(queries)
        return len(self._latest) + len(queries) >= _FEWEST and 2 * failed > len(self._latest) + len(queries)

    def _other(self, queries: Sequence[Query]) -> Query | None:
        """Return an answered query about another picture."""
        pictures = {query.image for query in queries}
        known = (query for query in reversed(self._answered) if query.image not in pictures)
        return next(known, None) or self._ledger.an_answered_query(without=pictures)
