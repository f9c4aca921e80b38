"""Pictures that a generator gives in pieces, of which each by itself looks like any text.

LangChain joins the chunks of a stream when it records its run. So the chunks are looked at as they will stand together.
"""

from __future__ import annotations

import math
from typing import Any, Final

from langchain_core.messages import BaseMessage

from langchain_vpp.errors import ProtectionError
from langchain_vpp.messages.file_headers import find_file_header
from langchain_vpp.messages.spelled import is_token, spelled_volume

# The longest header of a file, in numbers and with labels, fits; a piece of a picture that leaves shows none of it.
_KEPT: Final = 512
_LOOKED_AT: Final = 128
_DEEPEST: Final = 8
_FEWEST_LETTERS: Final = 10  # of data
_REFUSAL: Final = (
    "A function gave a picture in pieces, so it was stopped. Let it give each picture in one piece: it is then kept "
    "out of traces."
)


class Pieces:
    """The chunks of one stream, joined as LangChain joins them: by their place in mappings and messages."""

    def __init__(self) -> None:
        self._texts: dict[tuple[Any, ...], _Text] = {}

    def add(self, chunk: Any, recorded: Any) -> None:
        """Look at a chunk.

        Args:
            chunk: What the function gave.
            recorded: What stands for it in its run.

        Raises:
            ProtectionError: If a picture begins in what the chunks are together, or goes on in this one.
        """
        if isinstance(chunk, (str, bytes)) and recorded is not chunk and recorded != chunk:
            self._texts[(isinstance(chunk, str),)] = _Text(chunk[:0], goes_on=True)
        else:
            self._add(recorded, (), 0)

    def end(self) -> None:
        """Look at what the last chunks are together.

        Raises:
            ProtectionError: See :meth:`add`.
        """
        for text in self._texts.values():
            text.look()

    def _add(self, chunk: Any, place: tuple[Any, ...], depth: int) -> None:
        if depth > _DEEPEST:
            return
        if isinstance(chunk, (str, bytes)):
            self._texts.setdefault((*place, isinstance(chunk, str)), _Text(chunk[:0])).add(chunk)
        elif isinstance(chunk, BaseMessage):
            # The pictures of a message are protected ones.
            blocks = chunk.content if isinstance(chunk.content, list) else [chunk.content]
            texts = [each for each in blocks if not isinstance(each, dict) or each.get("type") == "text"]
            self._add(texts, (*place, "content"), depth + 1)
        elif isinstance(chunk, dict):
            # Blocks of content are joined by their index.
            place = (*place, chunk.get("index")) if isinstance(chunk.get("index"), int) else place
            for key, value in chunk.items():
                self._add(value, (*place, key) if isinstance(key, (str, int)) else place, depth + 1)
        elif isinstance(chunk, (list, tuple)):
            for item in chunk:
                self._add(item, (*place, None), depth + 1)


class _Text:
    """The end of what stands in one place so far.

    Args:
        beginning: An empty text, or empty bytes.
        goes_on: Whether a picture stands right before it, of which it may be the rest.
    """

    def __init__(self, beginning: Any, *, goes_on: bool = False) -> None:
        self._text = beginning
        self._new = 0
        self._goes_on = goes_on

    def add(self, piece: Any) -> None:
        self._text += piece
        self._new += len(piece)
        if self._new >= _LOOKED_AT:
            self.look()

    def look(self) -> None:
        text = self._text
        if not self._new:
            return
        if isinstance(text, bytes):
            is_picture = find_file_header(text) is not None or self._goes_on
        else:
            is_rest = self._goes_on and " " not in text and is_token(text) and len({*text}) >= _FEWEST_LETTERS
            is_picture = is_rest or spelled_volume(text) == math.inf
        if is_picture:
            raise ProtectionError(_REFUSAL)
        self._text, self._new, self._goes_on = text[-_KEPT:], 0, False
