"""Every paid query, durable before it is used, so that nothing is paid twice or lost.

One SQLite file in WAL mode with full synchronisation. A query is written down as *sent* before it leaves the machine
and as *answered* when its answer arrives. A process that dies in between leaves it as sent: it may have been paid, so
it counts against the budget and is never asked again (at most once, not at least once).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from langchain_vpp.errors import BudgetExhaustedError, LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

Purpose = Literal["train", "validate", "evaluate"]
_SCHEMA = 1


class Query(NamedTuple):
    """One black-box evaluation: a protected image and a question about it."""

    image: bytes
    """The encoded picture, exactly as it is sent."""
    question: str
    choices: tuple[str, ...] = ()

    @property
    def prompt(self) -> str:
        """The text that is sent along with the image."""
        if not self.choices:
            return f"{self.question}\nAnswer with a single word or number."
        return f"{self.question}\nAnswer with exactly one of: {', '.join(self.choices)}."

    @property
    def image_digest(self) -> str:
        """sha256 of the image, in hex."""
        return hashlib.sha256(self.image).hexdigest()


class Answer(NamedTuple):
    """The chat model's reply."""

    text: str
    logprobs: Mapping[str, float] | None = None
    """Natural log-probabilities of the alternatives for the first token, if the model returned them."""
    input_tokens: int = 0
    output_tokens: int = 0


class Budget(NamedTuple):
    """What may be spent in all, over every run that shares the ledger."""

    max_queries: int
    max_cost: float | None = None
    """US dollars."""


class Price(NamedTuple):
    """US dollars per million tokens."""

    input: float
    output: float

    def of(self, answer: Answer) -> float:
        """What an answer has cost."""
        return (answer.input_tokens * self.input + answer.output_tokens * self.output) / 1e6


class Reservation(NamedTuple):
    """What the ledger says about a batch of queries; keys are those of :meth:`Ledger.key`."""

    answered: dict[str, Answer]
    new: list[Query]
    """To be asked now; already written down as sent."""
    lost: set[str]
    """Sent by a process that died before the answer was recorded; never asked again."""


class Ledger:
    """The record of queries to one chat model.

    Safe to use from several threads. One process may write to it at a time per query: the reservation is a transaction.

    Args:
        path: The SQLite file; created with its folder if missing.
        model: What identifies the chat model and how it is asked; part of every key, so that answers of different
            models never mix.
        price: To turn tokens into cost.

    Raises:
        LedgerError: If the file can't be opened or is not a ledger of this schema.
    """

    def __init__(self, path: Path, *, model: str, price: Price | None = None) -> None:
        self._model, self._price, self._path = model, price, path
        self._lock = threading.RLock()
        with self._explained("opened"):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, check_same_thread=False, isolation_level=None, timeout=30
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._connection.executescript(f"""
                    CREATE TABLE IF NOT EXISTS images (digest TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT;
                    CREATE TABLE IF NOT EXISTS queries (
                        key TEXT PRIMARY KEY, model TEXT NOT NULL, image TEXT NOT NULL, prompt TEXT NOT NULL,
                        purpose TEXT NOT NULL, text TEXT, logprobs TEXT, input_tokens INTEGER, output_tokens INTEGER,
                        cost REAL, sent_at REAL NOT NULL, answered_at REAL
                    ) STRICT;
                    PRAGMA user_version = {_SCHEMA};
                """)
        if version not in {0, _SCHEMA}:
            self.close()
            raise LedgerError(
                f"{path} is a ledger of schema {version}; this version reads {_SCHEMA}. Use another file."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Everything recorded is on disk already."""
        self._connection.close()

    def key(self, query: Query) -> str:
        """Content key of a query: what is asked, about which picture, of which model."""
        parts = json.dumps([self._model, query.image_digest, query.prompt])
        return hashlib.sha256(parts.encode()).hexdigest()

    def reserve(self, queries: Sequence[Query], *, purpose: Purpose, budget: Budget) -> Reservation:
        """Look queries up, and write the new ones down as sent, all or none.

        Raises:
            BudgetExhaustedError: If the new ones exceed the budget; then nothing was written and nothing may be sent.
            LedgerError: If the file can't be written.
        """
        by_key = {self.key(query): query for query in queries}
        with self._lock, self._transaction():
            answered: dict[str, Answer] = {}
            lost: set[str] = set()
            for key in by_key:
                row = self._connection.execute(
                    "SELECT text, logprobs, input_tokens, output_tokens FROM queries WHERE key = ?", (key,)
                ).fetchone()
                if row is not None and row[0] is None:
                    lost.add(key)
                elif row is not None:
                    answered[key] = _as_answer(row)
            new = {key: query for key, query in by_key.items() if key not in answered and key not in lost}
            self._check(len(new), budget)
            now = time.time()
            for key, query in new.items():
                digest = query.image_digest
                self._connection.execute("INSERT OR IGNORE INTO images VALUES (?, ?)", (digest, query.image))
                self._connection.execute(
                    "INSERT INTO queries (key, model, image, prompt, purpose, sent_at) VALUES (?, ?, ?, ?, ?, ?)",
                    (key, self._model, digest, query.prompt, purpose, now),
                )
        return Reservation(answered, list(new.values()), lost)

    def record(self, query: Query, answer: Answer) -> None:
        """Write an answer down; it is on disk when this returns.

        Raises:
            LedgerError: If the file can't be written.
        """
        logprobs = None if answer.logprobs is None else json.dumps(dict(answer.logprobs))
        cost = None if self._price is None else self._price.of(answer)
        with self._lock, self._transaction():
            self._connection.execute(
                "UPDATE queries SET text = ?, logprobs = ?, input_tokens = ?, output_tokens = ?, cost = ?,"
                " answered_at = ? WHERE key = ?",
                (
                    answer.text,
                    logprobs,
                    answer.input_tokens,
                    answer.output_tokens,
                    cost,
                    time.time(),
                    self.key(query),
                ),
            )

    def release(self, queries: Sequence[Query]) -> None:
        """Forget that queries were sent, because the provider is known to have refused or missed them."""
        with self._lock, self._transaction():
            self._connection.executemany(
                "DELETE FROM queries WHERE key = ? AND text IS NULL",
                [(self.key(query),) for query in queries],
            )

    def lookup(self, key: str) -> tuple[bytes, Answer]:
        """An answered query's picture, as it was sent, and its answer.

        Raises:
            LedgerError: If the ledger does not hold it.
        """
        with self._lock, self._explained("read"):
            row = self._connection.execute(
                "SELECT data, text, logprobs, input_tokens, output_tokens FROM queries JOIN images ON digest = image"
                " WHERE key = ? AND text IS NOT NULL",
                (key,),
            ).fetchone()
        if row is None:
            raise LedgerError(f"{self._path} does not hold the answer {key[:12]}. It belongs to another run.")
        return row[0], _as_answer(row[1:])

    def spent(self) -> tuple[int, float]:
        """Queries sent so far, answered or lost, and what the answered ones cost in US dollars."""
        with self._lock, self._explained("read"):
            count, cost = self._connection.execute("SELECT count(*), total(cost) FROM queries").fetchone()
        return count, cost

    def _check(self, new: int, budget: Budget) -> None:
        if not new:
            return
        count, cost = self.spent()
        if count + new > budget.max_queries:
            raise BudgetExhaustedError(
                f"{new} more queries would exceed the budget of {budget.max_queries} ({count} spent); none of them was "
                "sent. Everything is saved: resume with a larger --max-queries."
            )
        if budget.max_cost is not None and cost + new * (cost / count if count else 0.0) > budget.max_cost:
            raise BudgetExhaustedError(
                f"{new} more queries would exceed the budget of ${budget.max_cost:g} (${cost:.4f} spent); none of them "
                "was sent. Everything is saved: resume with a larger --max-cost."
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._explained("written"):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # on a full disk SQLite may have rolled back by itself
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(
                f"the ledger {self._path} could not be {what}: {error}. Nothing was sent that it does not hold; "
                "free the disk or choose a folder that can be written, then resume."
            ) from None


def _as_answer(row: tuple[str, str | None, int, int]) -> Answer:
    text, logprobs, input_tokens, output_tokens = row
    return Answer(text, None if logprobs is None else json.loads(logprobs), input_tokens, output_tokens)
