"""Tokens that a query and its answer have by estimate, for answers whose tokens the provider does not name."""

from __future__ import annotations

import io
import math
import re
from typing import TYPE_CHECKING, Final

from PIL import Image

from langchain_vpp.providers import FAMILIES, find_model
from trainer.oracle.clips import unpack

if TYPE_CHECKING:
    from trainer.oracle.query import Answer, Query

CHARACTERS_PER_TOKEN: Final = 4
PROMPT_OVERHEAD: Final = 12
"""Tokens of a request besides its text and picture."""
_UNKNOWN_SIZE: Final = (1024, 1024)
"""Width and height that a picture is taken to have which can't be read."""
_LEDGER_NAME: Final = re.compile(r"(?P<name>[^|]*?)(@[0-9a-f]{12})?(\|.*)?", re.DOTALL)
"""Name of a chat model in a ledger: class and model, the server's address, and how it is asked."""


def estimate_tokens(query: Query, answer: Answer, model: str) -> tuple[int, int]:
    """Estimate the input and output tokens of a query that is asked alone.

    Args:
        query: The query.
        answer: Its answer.
        model: Name of the chat model in the ledger. If the table of providers lacks it, the picture counts as with its
            first family, as in the estimate before a run.
    """
    found = _LEDGER_NAME.fullmatch(model)
    listed = None if found is None else find_model(found["name"])
    family = FAMILIES[0] if listed is None else listed.family
    pictures = sum(family.tokens(*_size(frame)) for frame in unpack(query.image))
    return pictures + PROMPT_OVERHEAD + _text_tokens(query.prompt), max(1, _text_tokens(answer.text))


def _text_tokens(text: str) -> int:
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


def _size(encoded: bytes) -> tuple[int, int]:
    """Width and height of a picture; its pixels are not decoded."""
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            return image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return _UNKNOWN_SIZE
