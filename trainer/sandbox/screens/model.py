"""The screen model: a reader and rules behind the interface of the sandbox's models."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from langchain_vpp.engines.words.reader import RapidReader
from trainer.sandbox.screens.rules import answer, understands
from trainer.sandbox.vision.local_model import UNKNOWN, Reply
from trainer.sandbox.vision.questions import numbered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from PIL import Image

    from langchain_vpp.engines.words.reader import TextReader, Word

_KEPT: Final = 64
"""Pictures whose words are kept: a conversation asks several questions about one."""


class ScreenModel:
    """Answers questions about screens and documents from what it can read in them.

    It copies answers from the picture as they stand there, also tokens such as ``NAME_1`` on the plates of covered
    text. It knows about twenty questions, among them "What is the total?" and "Which button cancels?".

    Args:
        reader: Finds the words of a picture. Default: :class:`~langchain_vpp.engines.words.reader.RapidReader`, loaded
            when the first picture comes; then its absence raises :class:`~langchain_vpp.errors.MissingExtraError`.

    Attributes:
        name: Name of the model on the server.
    """

    name = "sandbox-screens"

    def __init__(self, reader: TextReader | None = None) -> None:
        self._reader = reader
        self._read: OrderedDict[bytes, Sequence[Word]] = OrderedDict()
        self._lock = threading.Lock()

    def answer(self, image: Image.Image, question: str) -> Reply:
        """Answer one question about one picture.

        Args:
            image: Picture of any mode and size.
            question: English; or a numbered list of questions, which gets a line for each.
        """
        if listed := numbered(question):
            return Reply.to_list(self.answer(image, each) for each in listed)
        return Reply(answer(self._words(image), question) or UNKNOWN, None, {})

    def fill(self, image: Image.Image, schema: Mapping[str, Any], question: str = "") -> dict[str, Any]:
        """Fill the properties of a JSON schema of an object from a picture.

        A property is asked about by its description, by its name, or by the question that the user asks.

        Args:
            image: Picture of any mode and size.
            schema: The schema.
            question: What the user says.

        Returns:
            A value for each property that the picture answers, and an empty one for each other that is required.
        """
        words = self._words(image)
        filled: dict[str, Any] = {}
        for name, each in schema.get("properties", {}).items():
            if each.get("type") == "object":
                filled[name] = self.fill(image, each, question)
                continue
            by_name = f"What is the {name.replace('_', ' ')}?"
            asked = next(filter(understands, (each.get("description", ""), by_name, question)), by_name)
            found = answer(words, asked)
            if found is not None or name in schema.get("required", ()):
                filled[name] = _typed(found, each.get("type"))
        return filled

    def _words(self, image: Image.Image) -> Sequence[Word]:
        image = image.convert("RGB")
        key = hashlib.sha256(repr(image.size).encode() + image.tobytes()).digest()
        with self._lock:
            if key in self._read:
                self._read.move_to_end(key)
                return self._read[key]
            if self._reader is None:
                self._reader = RapidReader()
            reader = self._reader
        words = reader.read(image)
        with self._lock:
            self._read[key] = words
            if len(self._read) > _KEPT:
                self._read.popitem(last=False)
        return words


def _typed(found: str | None, kind: object) -> Any:
    """Write an answer as a type of JSON asks for."""
    if kind == "array":
        return [found] if found else []
    if kind == "boolean":
        return (found or "").lower() in ("on", "yes", "true")
    if kind in ("integer", "number"):
        digits = re.sub(r"[^\d.]", "", found or "") or "0"
        return int(float(digits)) if kind == "integer" else float(digits)
    return found or ""
