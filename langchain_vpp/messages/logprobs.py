"""The shape of logarithmic probabilities of tokens in the metadata of an answer."""

from __future__ import annotations

from typing import Any, Final

from langchain_vpp.messages.file_headers import SHORTEST_SPELLING

LONGEST_TOKEN: Final = SHORTEST_SPELLING - 1
"""Longest text of a token; longer texts are searched by themselves."""

_TOKEN_KEYS: Final = frozenset({"token", "token_id", "bytes", "logprob", "log_probability", "top_logprobs"})


def is_token_probability(parts: dict[Any, Any]) -> bool:
    """Say whether a mapping has the shape of a token's logarithmic probability, in the form of OpenAI or of Google."""
    return (
        parts.keys() <= _TOKEN_KEYS
        and type(parts["token"]) is str
        and len(parts["token"]) <= LONGEST_TOKEN
        and all(
            type(parts.get(key, 0.0)) is float or parts[key] in (0, None)
            for key in ("logprob", "log_probability")
        )
        and isinstance(parts.get("top_logprobs", []), list | None)
        and _spells_token(parts.get("bytes"), parts["token"])
    )


def _spells_token(spelled: Any, token: str) -> bool:
    """Say whether a list of numbers is nothing but the token, or the part of a character that it stands for."""
    if spelled is None:
        return True
    if type(spelled) is not list or len(spelled) > LONGEST_TOKEN:
        return False
    return spelled == list(token.encode("utf-8", "surrogatepass")) or (
        len(spelled) <= 4 and all(type(number) is int for number in spelled)
    )
