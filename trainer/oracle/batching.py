"""Several questions about one picture in one request, so that the picture is paid once."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from langchain_vpp.errors import TrainingError
from trainer.oracle.message import as_answer, as_message, picture_message, reply_text
from trainer.oracle.scoring import refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.language_models import BaseChatModel, LanguageModelInput
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import Runnable

    from trainer.oracle.query import Access, Answer, Query

_NUMBERED: Final = re.compile(r"[ \t]*(\d{1,3})[.):][ \t]+(\S.*)")


def check_access(access: Access, questions_per_call: int) -> None:
    """Check that log-probabilities are not asked for together with several questions per request.

    Raises:
        TrainingError: If they are: the log-probabilities of the answers in one reply can't be told apart.
    """
    if access == "logprobs" and questions_per_call > 1:
        raise TrainingError(
            "several questions per call have no log-probabilities of their own; nothing was sent. "
            "Use one question per call, or the access 'labels'."
        )


class BatchedModel:
    """Asks a chat model one or several questions about a picture in one request.

    Models that are known to support structured output are asked for it, other models for numbered lines.

    Args:
        model: Any chat model that takes images and answers text.
        access: ``"logprobs"`` asks for the alternatives' log-probabilities (OpenAI's call options ``logprobs`` and
            ``top_logprobs``); ``"labels"`` uses the text alone and works with every model.
        questions_per_call: Most questions in one request.

    Raises:
        TrainingError: If log-probabilities of several questions in one reply are asked for.
    """

    def __init__(self, model: BaseChatModel, *, access: Access, questions_per_call: int) -> None:
        check_access(access, questions_per_call)
        self._model: Runnable[LanguageModelInput, AIMessage] = (
            model.bind(logprobs=True, top_logprobs=20) if access == "logprobs" else model
        )
        self._structured = _structured(model, questions_per_call)
        self._questions_per_call = questions_per_call

    def group(self, queries: Sequence[Query]) -> list[list[Query]]:
        """Divide queries into requests: those about the same picture share some, in their order."""
        by_image: dict[bytes, list[Query]] = {}
        for query in queries:
            by_image.setdefault(query.image, []).append(query)
        size = self._questions_per_call
        return [
            about[start : start + size] for about in by_image.values() for start in range(0, len(about), size)
        ]

    def ask(self, queries: Sequence[Query]) -> list[Answer]:
        """Send one request, and return the answers in the order of the queries.

        A part that is missing or garbled in the reply gives an empty answer, never that of another question.

        Args:
            queries: Of one group of :meth:`group`.
        """
        if len(queries) == 1:
            reply = self._model.invoke([as_message(queries[0])])
            return [as_answer(reply_text(reply), reply, logprobs=reply.response_metadata.get("logprobs"))]
        structured = self._structured.get(len(queries))
        if structured is None:
            reply = self._model.invoke([picture_message(queries[0].image, _numbered_prompt(queries))])
            texts = _numbered_answers(reply_text(reply), len(queries))
        else:
            both = structured.invoke([picture_message(queries[0].image, _structured_prompt(queries))])
            reply = both["raw"]
            texts = _structured_answers(reply, len(queries))
        if not any(texts) and refused(reply_text(reply)):
            texts = [reply_text(reply)] * len(queries)
        return [as_answer(text, reply, part=part, parts=len(queries)) for part, text in enumerate(texts)]


def _structured(
    model: BaseChatModel, questions_per_call: int
) -> dict[int, Runnable[LanguageModelInput, dict[str, Any]]]:
    """Bind a model to a schema for each number of answers; empty if it isn't known to support that."""
    if not (model.profile or {}).get("structured_output"):
        return {}
    bound: dict[int, Runnable[LanguageModelInput, Any]] = {}
    try:
        for count in range(2, questions_per_call + 1):
            # A dict: some clients check a reply against a class themselves, and lose a paid reply that is garbled.
            bound[count] = model.with_structured_output(_schema(count), include_raw=True)
    except NotImplementedError:
        return {}
    return bound


def _schema(count: int) -> dict[str, Any]:
    names = [f"answer_{number}" for number in range(1, count + 1)]
    return {
        "title": "answers",
        "description": "Answers to numbered questions about a picture.",
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": names,
        "additionalProperties": False,
    }


def _questions(queries: Sequence[Query]) -> str:
    return "\n".join(
        f"{number}. {' '.join(query.prompt.split())}" for number, query in enumerate(queries, start=1)
    )


def _structured_prompt(queries: Sequence[Query]) -> str:
    return f"Answer each question about the picture, the first as answer_1 and so on.\n{_questions(queries)}"


def _numbered_prompt(queries: Sequence[Query]) -> str:
    return (
        "Answer each question about the picture. Reply with one line per question and nothing else: its number, a "
        f"full stop, a space and the answer.\n{_questions(queries)}"
    )


def _structured_answers(reply: AIMessage, count: int) -> list[str]:
    """Read the values of a whole structure, without a lenient parser: a part that was cut off is no answer."""
    given: Any = None
    if reply.tool_calls:
        given = reply.tool_calls[0]["args"]
    else:
        with contextlib.suppress(ValueError):
            given = json.loads(reply.text)
    values = given if isinstance(given, Mapping) else {}
    answers = [values.get(f"answer_{number}", "") for number in range(1, count + 1)]
    return [
        answer if isinstance(answer, str) else "" if answer is None else json.dumps(answer)
        for answer in answers
    ]


def _numbered_answers(text: str, count: int) -> list[str]:
    """Read the numbered lines; all answers are empty if a number is out of range or stands twice: none is safe then."""
    found: dict[int, str] = {}
    for line in text.splitlines():
        match = _NUMBERED.fullmatch(line)
        if match is None:
            continue
        number = int(match[1])
        if number in found or not 1 <= number <= count:
            return [""] * count
        found[number] = match[2].strip()
    return [found.get(number, "") for number in range(1, count + 1)]
