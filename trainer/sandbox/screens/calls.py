"""Tool calls and structured output of the screen model, filled from the picture by rules."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from PIL import Image

    from trainer.sandbox.screens.model import ScreenModel


class ToolCall(NamedTuple):
    """A call that the model wants to be made."""

    name: str
    arguments: str
    """JSON."""


class Wishes(NamedTuple):
    """What a request asks for besides text, in OpenAI's terms.

    Attributes:
        tools: The functions that may be called: each with a name, a description and a schema of its parameters.
        choice: ``auto``, ``none``, ``required``, or the name of the function to call.
        schema: Schema of a JSON object that the answer has to be, if any.
    """

    tools: Sequence[Mapping[str, Any]] = ()
    choice: str = "auto"
    schema: Mapping[str, Any] | None = None


class Written(NamedTuple):
    """A whole reply: text, or calls of tools."""

    text: str
    calls: tuple[ToolCall, ...] = ()


def respond(model: ScreenModel, image: Image.Image, question: str, wishes: Wishes) -> Written:
    """Answer a question with text, with JSON, or with the call of a tool.

    A tool is called where the request demands it, or where the question has a word of the tool's name.

    Args:
        model: The model.
        image: The picture.
        question: What the user says.
        wishes: The tools and the schema of the request.
    """
    if wishes.schema is not None:
        return Written(json.dumps(model.fill(image, wishes.schema, question), ensure_ascii=False))
    tool = _chosen(question, wishes)
    if tool is None:
        return Written(model.answer(image, question).text)
    arguments = model.fill(image, tool.get("parameters") or {}, question)
    return Written("", (ToolCall(tool["name"], json.dumps(arguments, ensure_ascii=False)),))


def _chosen(question: str, wishes: Wishes) -> Mapping[str, Any] | None:
    """Choose the tool that a question is about; ``None`` if it gets an answer in words."""
    if not wishes.tools or wishes.choice == "none":
        return None
    named = next((each for each in wishes.tools if each["name"] == wishes.choice), None)
    if named is not None:
        return named
    said = _words(question)
    shared = [len(said & _words(each["name"])) for each in wishes.tools]
    best = max(shared)
    return wishes.tools[shared.index(best)] if best or wishes.choice == "required" else None


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{3,}", text.lower()))
