"""The first process's oracle and ledger, for all processes of a run: one record, and one budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from langchain_vpp.errors import TrainingError
from trainer.oracle.ledger import Ledger, Price, query_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from trainer.oracle.oracle import Asks
    from trainer.oracle.query import Answer, Purpose, Query
    from trainer.runtime.processes import Processes
    from trainer.training.checkpoint import RunIdentity
    from trainer.training.config import TrainerConfig


class Book(NamedTuple):
    """The oracle and the ledger, which the first process alone has."""

    oracle: Asks
    ledger: Ledger


class SharedAnswers:
    """Answers in every process as the first one's oracle and ledger do. All processes ask for the same, in step.

    Args:
        processes: The processes of the run.
        model: Names the chat model and how it is asked; see :class:`~trainer.oracle.ledger.Ledger`.
        book: Oracle and ledger of the first process; ``None`` in the others.
    """

    def __init__(self, processes: Processes, model: str, book: Book | None) -> None:
        self._processes, self._model, self._book = processes, model, book

    def ask(
        self, queries: Sequence[Query], *, purpose: Purpose, on_answer: Callable[[], None] | None = None
    ) -> list[Answer | None]:
        """Answer queries; see :meth:`trainer.oracle.oracle.Oracle.ask`."""

        def ask() -> list[Answer | None]:
            return self._own.oracle.ask(queries, purpose=purpose, on_answer=on_answer)

        return self._processes.from_first(ask)

    def known(self, queries: Sequence[Query]) -> list[Answer | None]:
        """Return recorded answers; see :meth:`trainer.oracle.ledger.Ledger.known`."""
        return self._processes.from_first(lambda: self._own.ledger.known(queries))

    def lookup(self, key: str) -> tuple[bytes, Answer]:
        """Return a query's picture and answer; see :meth:`trainer.oracle.ledger.Ledger.lookup`."""
        return self._processes.from_first(lambda: self._own.ledger.lookup(key))

    def spent(self) -> tuple[int, float]:
        """Count what was spent; see :meth:`trainer.oracle.ledger.Ledger.spent`."""
        return self._processes.from_first(lambda: self._own.ledger.spent())  # noqa: PLW0108  the others have no ledger

    def key(self, query: Query) -> str:
        """Return the digest of a query; see :meth:`trainer.oracle.ledger.Ledger.key`."""
        return query_key(self._model, query)

    @property
    def _own(self) -> Book:
        if self._book is None:
            raise TrainingError("nothing was asked: the first process alone has an oracle and a ledger.")
        return self._book


def require_divisible(config: TrainerConfig, processes: Processes) -> None:
    """Refuse settings with which several processes can't share a batch.

    Raises:
        TrainingError: If the settings are of this kind.
    """
    if processes.count > 1 and config.scalarisation in {"upgrad", "mgda"}:
        raise TrainingError(
            f"{config.scalarisation!r} weighs the gradients of whole batches, which several processes don't have; "
            "nothing was sent. Use one process, or another scalarisation."
        )
    if config.batch % processes.count:
        raise TrainingError(
            f"{processes.count} processes can't share a batch of {config.batch} equally; nothing was sent. "
            "Choose another batch or number of processes."
        )


def ledger_model(identity: RunIdentity) -> str:
    """Name of the chat model and of how it is asked, in a run's ledger."""
    config = identity.config
    together = f"|{config.questions_per_call} at once" if config.questions_per_call > 1 else ""
    return f"{identity.model}|{config.access}{together}"


def open_ledger(path: Path, identity: RunIdentity) -> Ledger:
    """Open the ledger under the name of the chat model and of how it is asked."""
    config = identity.config
    return Ledger(
        path,
        model=ledger_model(identity),
        price=None if config.price is None else Price(*config.price),
        store_images=config.store_images,
    )
