"""The chat model as a black box: queries, answers, and the ledger of what was paid.

Names are loaded on first use, so that importing the package loads no chat model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_vpp.lazy import lazy_names

if TYPE_CHECKING:
    from trainer.oracle.ledger import Budget, Ledger, Price
    from trainer.oracle.message import as_message
    from trainer.oracle.oracle import Counts, Oracle
    from trainer.oracle.query import Answer, Query
    from trainer.oracle.subprocess import SubprocessOracle

__all__ = [
    "Answer",
    "Budget",
    "Counts",
    "Ledger",
    "Oracle",
    "Price",
    "Query",
    "SubprocessOracle",
    "as_message",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Answer": "trainer.oracle.query",
        "Budget": "trainer.oracle.ledger",
        "Counts": "trainer.oracle.oracle",
        "Ledger": "trainer.oracle.ledger",
        "Oracle": "trainer.oracle.oracle",
        "Price": "trainer.oracle.ledger",
        "Query": "trainer.oracle.query",
        "SubprocessOracle": "trainer.oracle.subprocess",
        "as_message": "trainer.oracle.message",
    },
)
