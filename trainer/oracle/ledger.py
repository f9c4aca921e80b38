"""The record of every paid query, on disk before the answer is used, so that nothing is paid twice or lost.

One SQLite file in WAL mode with full synchronisation. A query is written down as *sent* before it leaves the machine
and as *answered* when its answer arrives. A process that dies in between leaves the query as sent: it may have been
paid, so it counts against the budget and is never asked again (at most once, not at least once).

Runs and processes may share one file. A ledger that writes holds a lock on a small file beside the database. The
operating system releases the lock when the process dies, which tells other processes whether an answer is still on its
way or lost. The process that asks need not be the one that trains; see :mod:`trainer.oracle.subprocess`.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Self

from langchain_vpp.errors import BudgetExhaustedError, LedgerError
from trainer.oracle.ledger_file import LedgerFile
from trainer.oracle.query import PUT_ASIDE, REJECTED, Answer, Query
from trainer.oracle.tokens import estimate_tokens

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from trainer.oracle.query import Purpose


class Budget(NamedTuple):
    """Limit on queries and cost, summed over every run that shares the ledger."""

    max_queries: int
    max_cost: float | None = None
    """US dollars."""


class Price(NamedTuple):
    """US dollars per million tokens."""

    input: float
    output: float

    def of(self, answer: Answer) -> float:
        """Cost of an answer in US dollars."""
        return self.of_tokens(answer.input_tokens, answer.output_tokens)

    def of_tokens(self, input_tokens: int, output_tokens: int) -> float:
        """Cost of tokens in US dollars."""
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


class Reservation(NamedTuple):
    """State of a batch of queries in the ledger; keys are those of :meth:`Ledger.key`."""

    answered: dict[str, Answer]
    new: list[Query]
    """To be asked now; already written down as sent."""
    lost: set[str]
    """Sent by a process that died before the answer was recorded; never asked again."""
    elsewhere: set[str]
    """Sent by another process that is alive, and not answered yet: look again later."""


class Ledger:
    """The record of queries to one chat model.

    Several threads may use one ledger, but two of them must not ask for the same query at once. Other processes may use
    the same file, also for other models: a reservation is a transaction, so a query belongs to the first that asks.

    Args:
        path: The SQLite file; created with its folder if missing.
        model: Names the chat model and how it is asked; part of every key, so that answers of different models never
            mix.
        price: Turns tokens into cost.
        store_images: Whether pictures are kept as they are sent; otherwise only their digests are.

    Attributes:
        path, model, price, store_images: The arguments.

    Raises:
        LedgerError: If the file can't be opened, is no ledger, or is one of a newer schema. A ledger of an older schema
            is brought up to date.
    """

    def __init__(
        self, path: Path, *, model: str, price: Price | None = None, store_images: bool = True
    ) -> None:
        self.path, self.model, self.price, self.store_images = path, model, price, store_images
        self._lock = threading.RLock()
        self._file = LedgerFile(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Everything recorded is on disk already."""
        self._file.close()

    def key(self, query: Query) -> str:
        """Digest of a query: model, picture and prompt."""
        return query_key(self.model, query)

    def reserve(self, queries: Sequence[Query], *, purpose: Purpose, budget: Budget) -> Reservation:
        """Look queries up, and write the new ones down as sent, all or none of them.

        Raises:
            BudgetExhaustedError: If the new queries exceed the budget; nothing was written, and nothing may be sent.
            LedgerError: If the file can't be written.
        """
        by_key = {self.key(query): query for query in queries}
        with self._lock, self._file.transaction():
            answered, owners = self._look_up(by_key)
            new = {key: query for key, query in by_key.items() if key not in answered and key not in owners}
            if new:
                self._check(len(new), len(new), budget)
                self._file.own()
            now = time.time()
            for key, query in new.items():
                digest = query.image_digest
                if self.store_images:
                    self._file.connection.execute(
                        "INSERT OR IGNORE INTO images VALUES (?, ?)", (digest, query.image)
                    )
                self._file.connection.execute(
                    "INSERT INTO queries (key, model, image, prompt, purpose, sent_at, owner)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (key, self.model, digest, query.prompt, purpose, now, self._file.owner),
                )
            # Within the transaction, so that nothing is answered between the two looks.
            lost, elsewhere = self._tell_apart(owners)
        return Reservation(answered, list(new.values()), lost, elsewhere)

    def require(self, queries: Sequence[Query], budget: Budget) -> None:
        """Check that all queries without an answer, new or sent before, fit into the budget; writes nothing.

        Raises:
            BudgetExhaustedError: If they don't fit.
            LedgerError: If the file can't be read.
        """
        by_key = {self.key(query): query for query in queries}
        with self._lock, self._file.explained("read"):
            answered, owners = self._look_up(by_key)
            missing = len(by_key) - len(answered)
            if missing:
                self._check(missing, missing - len(owners), budget)

    def count_new(self, queries: Sequence[Query]) -> int:
        """Count the different queries that were never sent.

        Raises:
            LedgerError: If the file can't be read.
        """
        keys = {self.key(query) for query in queries}
        with self._lock, self._file.explained("read"):
            answered, owners = self._look_up(keys)
        return len(keys) - len(answered) - len(owners)

    def record(self, query: Query, answer: Answer) -> None:
        """Write an answer down; it is on disk when this returns.

        Raises:
            LedgerError: If the file can't be written.
        """
        self.record_all([(query, answer)])

    def record_all(self, answered: Sequence[tuple[Query, Answer]]) -> None:
        """Write down the answers that came in one reply, all or none; they are on disk when this returns.

        An answer that names no tokens is not free: its cost is an estimate.

        Raises:
            LedgerError: If the file can't be written.
        """
        now = time.time()
        rows = [
            (
                answer.text,
                None if answer.logprobs is None else json.dumps(dict(answer.logprobs)),
                answer.input_tokens,
                answer.output_tokens,
                self._cost(query, answer),
                now,
                self.key(query),
            )
            for query, answer in answered
        ]
        with self._lock, self._file.transaction():
            self._file.connection.executemany(
                "UPDATE queries SET text = ?, logprobs = ?, input_tokens = ?, output_tokens = ?, cost = ?,"
                " answered_at = ? WHERE key = ?",
                rows,
            )

    def release(self, queries: Sequence[Query]) -> None:
        """Forget that queries were sent, because the provider refused them or never got them."""
        with self._lock, self._file.transaction():
            self._file.connection.executemany(
                "DELETE FROM queries WHERE key = ? AND text IS NULL AND owner = ?",
                [(self.key(query), self._file.owner) for query in queries],
            )

    def give_up(self, queries: Sequence[Query]) -> None:
        """Note that the process that sent queries has died: they count as sent, and are never asked again."""
        with self._lock, self._file.transaction():
            self._file.connection.executemany(
                "UPDATE queries SET owner = NULL WHERE key = ? AND text IS NULL AND owner = ?",
                [(self.key(query), self._file.owner) for query in queries],
            )

    def doubt(self, queries: Sequence[Query]) -> None:
        """Note that a request got no answer that can be read, although the provider may charge for its work.

        Against a limit on cost such a request counts as much as an answered one, also when the query is asked again.
        """
        with self._lock, self._file.transaction():
            self._file.connection.executemany(
                "INSERT INTO doubtful VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET requests = requests + 1",
                [(self.key(query),) for query in queries],
            )

    def doubtful(self) -> int:
        """Count the times that a query was sent and got no answer in time; see :meth:`doubt`."""
        with self._lock, self._file.explained("read"):
            count: int = self._file.connection.execute("SELECT total(requests) FROM doubtful").fetchone()[0]
        return int(count)

    def known(self, queries: Sequence[Query]) -> list[Answer | None]:
        """Recorded answers in the order of the queries; ``None`` where there is none.

        Raises:
            LedgerError: If the file can't be read.
        """
        keys = [self.key(query) for query in queries]
        with self._lock, self._file.explained("read"):
            answered, _ = self._look_up(set(keys))
        return [answered.get(key) for key in keys]

    def lookup(self, key: str) -> tuple[bytes, Answer]:
        """Picture of an answered query, as it was sent, and its answer.

        Raises:
            LedgerError: If the ledger does not hold it, or holds no pictures.
        """
        with self._lock, self._file.explained("read"):
            row = self._file.connection.execute(
                "SELECT data, text, logprobs, input_tokens, output_tokens FROM queries"
                " LEFT JOIN images ON digest = image WHERE key = ? AND text IS NOT NULL",
                (key,),
            ).fetchone()
        if row is None:
            raise LedgerError(f"{self.path} does not hold the answer {key[:12]}. It belongs to another run.")
        if row[0] is None:
            raise LedgerError(f"pictures are not stored in {self.path}, so {key[:12]} can't be looked up.")
        return row[0], _as_answer(row[1:])

    def spent(self) -> tuple[int, float]:
        """Number of queries sent so far, answered or lost, and cost of the answered ones in US dollars."""
        with self._lock, self._file.explained("read"):
            count, cost = self._file.connection.execute(
                "SELECT count(*), total(cost) FROM queries"
            ).fetchone()
        return count, cost

    def has_answers(self) -> bool:
        """Whether the chat model has answered a query that was neither rejected nor put aside.

        Raises:
            LedgerError: If the file can't be read.
        """
        with self._lock, self._file.explained("read"):
            row = self._file.connection.execute(
                "SELECT 1 FROM queries WHERE model = ? AND text NOT IN (?, ?) LIMIT 1",
                (self.model, REJECTED, PUT_ASIDE),
            ).fetchone()
        return row is not None

    def an_answered_query(self, *, without: Collection[bytes]) -> Query | None:
        """Return one of the latest queries that the chat model has answered; ``None`` if pictures aren't stored.

        Its prompt differs from the one that was sent: what is asked says nothing, an answer does.

        Args:
            without: Pictures that it must not be about.
        """
        with self._lock, self._file.explained("read"):
            rows = self._file.connection.execute(
                "SELECT data, prompt FROM queries JOIN images ON digest = image"
                " WHERE model = ? AND text NOT IN (?, ?) ORDER BY answered_at DESC LIMIT ?",
                (self.model, REJECTED, PUT_ASIDE, len(without) + 1),
            ).fetchall()
        return next((Query(data, prompt) for data, prompt in rows if data not in without), None)

    def mean_cost(self) -> float | None:
        """Mean cost of an answered query in US dollars; ``None`` before the first."""
        with self._lock, self._file.explained("read"):
            mean: float | None = self._file.connection.execute("SELECT avg(cost) FROM queries").fetchone()[0]
        return mean

    def _cost(self, query: Query, answer: Answer) -> float | None:
        if self.price is None:
            return None
        if answer.input_tokens:
            return self.price.of(answer)
        return self.price.of_tokens(*estimate_tokens(query, answer, self.model))

    def _look_up(self, keys: Iterable[str]) -> tuple[dict[str, Answer], dict[str, str | None]]:
        """Answers of the keys that have one, and the owners of those that were sent and have none."""
        answered: dict[str, Answer] = {}
        owners: dict[str, str | None] = {}
        for key in keys:
            row = self._file.connection.execute(
                "SELECT text, logprobs, input_tokens, output_tokens, owner FROM queries WHERE key = ?", (key,)
            ).fetchone()
            if row is not None and row[0] is None:
                owners[key] = row[4]
            elif row is not None:
                answered[key] = _as_answer(row[:4])
        return answered, owners

    def _tell_apart(self, owners: Mapping[str, str | None]) -> tuple[set[str], set[str]]:
        """Divide keys into those whose owner is gone and those whose owner is at work."""
        alive = {owner for owner in set(owners.values()) if owner is not None and self._file.is_alive(owner)}
        elsewhere = {key for key, owner in owners.items() if owner in alive}
        return owners.keys() - elsewhere, elsewhere

    def _check(self, sending: int, new: int, budget: Budget) -> None:
        count, cost = self.spent()
        if new and count + new > budget.max_queries:
            raise BudgetExhaustedError(
                f"{new} more queries would exceed the budget of {budget.max_queries} ({count} spent); none of them was "
                "sent. Everything is saved: resume with a larger --max-queries."
            )
        if budget.max_cost is None:
            return
        # Every query that was sent and not answered may be charged.
        waiting = self._file.connection.execute("SELECT count(*) FROM queries WHERE text IS NULL").fetchone()[
            0
        ]
        doubtful = self.doubtful()
        if cost + (waiting + new + doubtful) * (self.mean_cost() or 0.0) > budget.max_cost:
            also = f", and {doubtful} requests without an answer that may be charged" if doubtful else ""
            raise BudgetExhaustedError(
                f"{sending} more queries would exceed the budget of ${budget.max_cost:g} (${cost:.4f} spent{also}); "
                "none of them was sent. Everything is saved: resume with a larger --max-cost."
            )


def query_key(model: str, query: Query) -> str:
    """Digest of a query in the ledger of a model; see :class:`Ledger`."""
    parts = json.dumps([model, query.image_digest, query.prompt])
    return hashlib.sha256(parts.encode()).hexdigest()


def _as_answer(row: tuple[str, str | None, int, int]) -> Answer:
    text, logprobs, input_tokens, output_tokens = row
    return Answer(text, None if logprobs is None else json.loads(logprobs), input_tokens, output_tokens)
