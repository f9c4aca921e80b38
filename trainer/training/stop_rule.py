"""The rule that stops a run whose chat model gives no answers that can be used, before it spends the budget."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from langchain_vpp.errors import OracleError
from trainer.oracle.comparing import kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trainer.oracle.query import Answer, Query

FEWEST: Final = 24
"""Answers before the first look; at least one in so many must be usable."""
_PAID: Final = 12
"""Answers that this process must have paid before it stops."""
_LATEST: Final = 2 * FEWEST
"""Answers over which the share of usable ones is taken."""
_KINDS: Final = {"refused": "refused", "empty": "empty", "unfit": "name none of the choices"}


class StopRule:
    """Stops asking when (nearly) none of the latest answers can be used.

    A resumed run asks a few questions anew before it stops: the cause may have been put right meanwhile.
    """

    def __init__(self) -> None:
        self._latest: deque[str] = deque(maxlen=_LATEST)
        self._paid = 0
        self._has_usable = False

    def parts(self, queries: Sequence[Query]) -> Iterator[Sequence[Query]]:
        """Divide queries into small parts until an answer was usable, so that little is spent before the first look."""
        start = 0
        while start < len(queries):
            end = len(queries) if self._has_usable else start + FEWEST
            yield queries[start:end]
            start = end

    def note(
        self, queries: Sequence[Query], known: Sequence[Answer | None], answers: Sequence[Answer | None]
    ) -> None:
        """Take answers into account.

        Args:
            queries: Queries.
            known: Answers that the ledger held before the queries were asked, or ``None``.
            answers: Answers that it holds now, or ``None``.

        Raises:
            OracleError: If nearly none of the latest answers can be used.
        """
        for query, before, answer in zip(queries, known, answers, strict=True):
            if answer is None:
                continue
            found = kind(answer.text, query.choices)
            self._has_usable = self._has_usable or found == "usable"
            self._paid += before is None
            self._latest.append(found)
        usable = self._latest.count("usable")
        if self._paid >= _PAID and FEWEST <= len(self._latest) > usable * FEWEST:
            raise OracleError(self._reason(usable))

    def _reason(self, usable: int) -> str:
        counts = Counter(self._latest)
        others = ", ".join(f"{counts[each]} {text}" for each, text in _KINDS.items() if counts[each])
        return (
            f"{usable or 'none'} of the latest {len(self._latest)} answers of the chat model can be used ({others}), "
            "so no more was asked and the rest of the budget is kept. Choose a chat model that answers such questions, "
            "or word them and their choices differently, in a new run; or put the cause right, then resume."
        )
