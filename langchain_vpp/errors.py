"""The exceptions and warnings that we raise.

::

    Exception
    └── VPPError
        ├── ProtectionError      nothing was sent: unknown content, undecodable or remote image, engine output
        │   │                    (also a ValueError and a LangChainException)
        │   ├── UnfamiliarPictureError   a picture is unlike those that the artifact was made for
        │   └── MissingExtraError   an optional package is missing (also a TrainingError)
        ├── ArtifactError        an artifact is missing, altered or of another format
        └── TrainingError
            ├── BudgetExhaustedError   the paid queries or the money are spent; the run can be resumed
            ├── LedgerError            the record of paid queries can't be read or written
            ├── OracleError            the chat model failed; the run can be resumed
            └── DataError              a data set can't be used as it is

    UserWarning
    ├── TraceLeakWarning         an enclosing run has already recorded the unprotected input
    └── DomainWarning            an artifact protected, or may protect, pictures that it was not made for

A message says what was not done and what to do about it. It never carries content (pixels, text, URLs). An exception
that carries content is never chained to one of these: they are raised outside the ``except`` block, so that neither
``__cause__`` nor ``__context__`` holds it.
"""

from __future__ import annotations

from langchain_core.exceptions import LangChainException


class VPPError(Exception):
    """Base of all errors of this package."""


class ProtectionError(VPPError, LangChainException, ValueError):
    """Content could not be protected, so nothing was sent."""


class UnfamiliarPictureError(ProtectionError):
    """A picture is unlike those that the artifact was made for, so nothing was sent."""


class ArtifactError(VPPError):
    """An artifact is missing, was changed, or can't be used."""


class TrainingError(VPPError):
    """Training or measuring stopped."""


class BudgetExhaustedError(TrainingError):
    """The next query would exceed the budget, so it was not sent."""


class LedgerError(TrainingError):
    """The ledger can't be opened, read or written."""


class OracleError(TrainingError):
    """The chat model could not be reached, or refused. Answers that had arrived are in the ledger."""


class DataError(TrainingError):
    """A data set is empty, malformed or unfit for training."""


class MissingExtraError(ProtectionError, TrainingError):
    """An optional package is missing, so nothing was sent, loaded or trained; the message says what to install."""


class TraceLeakWarning(UserWarning):
    """Handlers of an enclosing run have seen the unprotected input."""


class DomainWarning(UserWarning):
    """An artifact protected a picture that is unlike those that it was made for, or can't tell such pictures."""
