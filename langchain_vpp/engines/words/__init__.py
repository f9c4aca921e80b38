"""Words: the engine that shows text that is known to be harmless, and covers the rest (extra ``words``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_vpp.lazy import lazy_names

if TYPE_CHECKING:
    from langchain_vpp.engines.words.engine import Words
    from langchain_vpp.engines.words.reader import RapidReader, TextReader, Word
    from langchain_vpp.engines.words.recognizers import Finding, Recognizer, default_recognizers
    from langchain_vpp.engines.words.tokens import TokenNumbers, TokenSource

__all__ = [
    "Finding",
    "RapidReader",
    "Recognizer",
    "TextReader",
    "TokenNumbers",
    "TokenSource",
    "Word",
    "Words",
    "default_recognizers",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Finding": "langchain_vpp.engines.words.recognizers",
        "RapidReader": "langchain_vpp.engines.words.reader",
        "Recognizer": "langchain_vpp.engines.words.recognizers",
        "TextReader": "langchain_vpp.engines.words.reader",
        "TokenNumbers": "langchain_vpp.engines.words.tokens",
        "TokenSource": "langchain_vpp.engines.words.tokens",
        "Word": "langchain_vpp.engines.words.reader",
        "Words": "langchain_vpp.engines.words.engine",
        "default_recognizers": "langchain_vpp.engines.words.recognizers",
    },
)
