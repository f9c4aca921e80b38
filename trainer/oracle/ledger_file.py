"""The SQLite file of a ledger: its schema, its transactions, and the locks that tell who is at work."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from filelock import FileLock, Timeout

from langchain_vpp.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SCHEMA: Final = 2
_TABLES: Final = """
    CREATE TABLE images (digest TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT;
    CREATE TABLE queries (
        key TEXT PRIMARY KEY, model TEXT NOT NULL, image TEXT NOT NULL, prompt TEXT NOT NULL,
        purpose TEXT NOT NULL, text TEXT, logprobs TEXT, input_tokens INTEGER, output_tokens INTEGER,
        cost REAL, sent_at REAL NOT NULL, answered_at REAL
    ) STRICT;
"""
_FROM_SCHEMA_1: Final = """
    ALTER TABLE queries ADD COLUMN owner TEXT;
    CREATE TABLE doubtful (key TEXT PRIMARY KEY, requests INTEGER NOT NULL) STRICT;
"""


class LedgerFile:
    """An open ledger file.

    Args:
        path: The SQLite file; created with its folder if missing.

    Attributes:
        path: The argument.
        connection: Connection to the database.
        owner: Name under which this process reserves queries.

    Raises:
        LedgerError: If the file can't be opened, is no ledger, or is one of a newer schema. A ledger of an older schema
            is brought up to date.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.owner = path, uuid.uuid4().hex
        self._alive = FileLock(self._lock_file(self.owner), thread_local=False)
        with self.explained("opened"):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        try:
            self._refuse_what_is_not_ours()
            self._prepare()
        except BaseException:
            self.connection.close()
            raise

    def close(self) -> None:
        """Close the file, and let other processes know that no answer is on its way any more."""
        with self.explained("closed"), self._opening_lock():
            self.connection.close()
        if self._alive.is_locked:
            self._alive.release()
            self._lock_file(self.owner).unlink(missing_ok=True)

    def own(self) -> None:
        """Let other processes know that this one is at work, until :meth:`close` or its death.

        Called before the first reservation only: a ledger that only reads leaves no file behind when it is killed.
        """
        if not self._alive.is_locked:
            self._alive.acquire(timeout=0)

    def is_alive(self, owner: str) -> bool:
        """Whether the process of another owner is alive."""
        file = self._lock_file(owner)
        if owner == self.owner or not file.exists():
            return False
        with self.explained("read"):
            try:
                with FileLock(file, timeout=0):
                    file.unlink(missing_ok=True)
            except Timeout:
                return True
        return False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write everything that is executed in the context, or nothing.

        Raises:
            LedgerError: If the file can't be written.
        """
        with self.explained("written"):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:  # on a full disk SQLite may have rolled back by itself
                    self.connection.execute("ROLLBACK")
                raise

    @contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Turn errors of the database and the disk into a :class:`~langchain_vpp.errors.LedgerError`.

        Args:
            what: Past participle of the action, for the message.
        """
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(
                f"the ledger {self.path} could not be {what}: {error}. Nothing was sent that it does not hold; "
                "free the disk or choose a folder that can be written, then resume."
            ) from None

    def _refuse_what_is_not_ours(self) -> None:
        with self.explained("opened"):
            tables = self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            version = self._version()
        if tables and version == 0:
            raise LedgerError(
                f"{self.path} is a database of something else; it was left alone. Use another file."
            )
        if version > _SCHEMA:
            raise LedgerError(
                f"{self.path} is a ledger of schema {version}; this version reads {_SCHEMA} and older. "
                "Use another file, or the version that made it."
            )

    def _prepare(self) -> None:
        """Create the tables or bring them up to date."""
        # SQLite does not wait for another process that changes the journal's mode or is the last to close.
        with self.explained("opened"), self._opening_lock():
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = FULL")
            steps = {0: _TABLES + _FROM_SCHEMA_1, 1: _FROM_SCHEMA_1}.get(self._version(), "")
            if steps:
                with self.transaction():
                    for statement in filter(str.strip, steps.split(";")):
                        self.connection.execute(statement)
                    self.connection.execute(f"PRAGMA user_version = {_SCHEMA}")

    def _version(self) -> int:
        version: int = self.connection.execute("PRAGMA user_version").fetchone()[0]
        return version

    def _opening_lock(self) -> FileLock:
        """Lock that a process holds while it opens or closes the file."""
        return FileLock(self.path.with_name(f"{self.path.name}.lock"), timeout=30)

    def _lock_file(self, owner: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{owner}.lock")
