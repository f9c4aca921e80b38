"""Several questions about one picture in one request, so that the picture is paid once."""

from __future__ import annotations

import json
import logging
import re
import threading
from typing import TYPE_CHECKING, Any, Final

from langchain_vpp.errors import TrainingError
from trainer.oracle.comparing import refused, unwrapped
from trainer.oracle.message import as_answer, as_message, picture_message, reply_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.language_models import BaseChatModel, LanguageModelInput
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import Runnable

    from trainer.oracle.query import Access, Answer, Query

logger = logging.getLogger(__name__)

_DECORATION: Final = r"[*_`~#>|\s(\[]*"
_NAME: Final = r"(?:answer|question|q|a|no\.?)?[ _]?"
_LINE: Final = re.compile(
    rf"(?:[-\u2022+]\s+)?{_DECORATION}{_NAME}#?(?P<number>\d{{1,3}})\ufe0f?"
    r"(?:[*_`~\])\s\\]*(?:[.:|\uff0e\uff1a](?!\d)|[)\u3001\uff09])|\s?[\])]|\u20e3|\s[-\u2013\u2014]\s|\s?(?:[-=]>|\u2192))"
    r"[*_`~|\s]*(?P<answer>\S.*)",
    re.IGNORECASE,
)
"""A line with the number of its question, in plain text or Markdown; "1.5" is no line 1."""
_KEY: Final = re.compile(rf"{_NAME}(\d{{1,3}})", re.IGNORECASE)
_FENCE: Final = re.compile(r"```[a-z]*\s*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)
_START: Final = re.compile(r"[{\[]")
_MOST_STARTS: Final = 64
"""Most brackets of a reply at which a structure is looked for."""
_DEEPEST: Final = 8
_NUMBER_KEYS: Final = frozenset(
    {"number", "question", "question_number", "id", "index", "no", "q", "question_id"}
)
_ANSWER_KEYS: Final = frozenset({"answer", "response", "value", "choice", "label", "result"})
_UNREADABLE_IN_A_ROW: Final = 2


class AskSingly(Exception):  # noqa: N818 - no failure: nothing was sent
    """Questions of a request are to be asked one by one from now on; nothing was sent."""


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


class RequestLostError(Exception):
    """The process that sent a request has died, so it is not known whether the provider has answered it."""


class BatchedModel:
    """Asks a chat model one or several questions about a picture in one request.

    Models that are known to support structured output are asked for it, other models for numbered lines. Both kinds of
    reply are read from every model, plain or in Markdown, after its thoughts. If two replies in a row lack answers that
    can be read, each question is asked in a request of its own from then on.

    Args:
        model: Any chat model that takes images and answers text.
        access: ``"logprobs"`` asks for the alternatives' log-probabilities (OpenAI's call options ``logprobs`` and
            ``top_logprobs``); ``"labels"`` uses the text alone and works with every model.
        questions_per_call: Most questions in one request.

    Attributes:
        model: The chat model.

    Raises:
        TrainingError: If log-probabilities of several questions in one reply are asked for.
    """

    def __init__(self, model: BaseChatModel, *, access: Access, questions_per_call: int) -> None:
        check_access(access, questions_per_call)
        self.model = model
        self._model: Runnable[LanguageModelInput, AIMessage] = (
            model.bind(logprobs=True, top_logprobs=20) if access == "logprobs" else model
        )
        self._structured = _structured(model, questions_per_call)
        self._questions_per_call = questions_per_call
        self._lock = threading.Lock()
        self._unreadable = 0
        """Replies in a row that could not be read."""

    def group(self, queries: Sequence[Query]) -> list[list[Query]]:
        """Divide queries into requests: those about the same picture share some, in their order."""
        by_image: dict[bytes, list[Query]] = {}
        for query in queries:
            by_image.setdefault(query.image, []).append(query)
        size = 1 if self._asks_singly else self._questions_per_call
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
            reply = self.reply(queries)
            return [as_answer(reply_text(reply), reply, logprobs=reply.response_metadata.get("logprobs"))]
        if self._asks_singly:
            raise AskSingly
        reply = self.reply(queries)
        texts = self._read(reply, queries)
        return [as_answer(text, reply, part=part, parts=len(queries)) for part, text in enumerate(texts)]

    def reply(self, queries: Sequence[Query]) -> AIMessage:
        """Send one request, and return the reply as it came."""
        if len(queries) == 1:
            return self._model.invoke([as_message(queries[0])])
        structured = self._structured.get(len(queries))
        if structured is None:
            return self._model.invoke([picture_message(queries[0].image, _numbered_prompt(queries))])
        message = picture_message(queries[0].image, _structured_prompt(queries))
        raw: AIMessage = structured.invoke([message])["raw"]
        return raw

    @property
    def _asks_singly(self) -> bool:
        return self._unreadable >= _UNREADABLE_IN_A_ROW

    def _read(self, reply: AIMessage, queries: Sequence[Query]) -> list[str]:
        """Read the answers in a reply to several questions, and notice replies that can't be read whole."""
        texts = _parts(reply, queries)
        if all(texts):
            with self._lock:
                self._unreadable = 0 if not self._asks_singly else self._unreadable
        elif not any(texts) and refused(reply_text(reply)):
            texts = [reply_text(reply)] * len(queries)
        else:
            with self._lock:
                self._unreadable += 1
                if self._unreadable == _UNREADABLE_IN_A_ROW:
                    logger.warning(
                        "%d replies in a row to several questions could not be read whole: questions are asked one by "
                        "one from now on",
                        self._unreadable,
                    )
        return texts


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


def _parts(reply: AIMessage, queries: Sequence[Query]) -> list[str]:
    """Read the answers in a reply, in the order of their questions; empty where one is missing.

    All are empty if a number is out of range or stands twice, or if several structures contradict each other: none is
    safe then. A part that was cut off is no answer.
    """
    count = len(queries)
    if reply.tool_calls:
        return _in_order(_only(_numbered([call["args"] for call in reply.tool_calls], 0)), count)
    text = unwrapped(reply_text(reply))
    fenced = [found for found in map(_last_numbered, _FENCE.findall(text)) if found]
    found = fenced[-1] if fenced else _last_numbered(text)
    if found:
        return _in_order(_only(found), count)
    lines = [part for line in text.splitlines() for part in _numbered_parts(line, count)]
    answers = _in_order(lines, count)
    return [_without_question(answer, query) for answer, query in zip(answers, queries, strict=True)]


def _without_question(answer: str, query: Query) -> str:
    """Remove a question that is repeated before its answer: it may name a choice."""
    plain = " ".join(answer.split()).lstrip("*_\"'")
    for asked in (query.prompt, query.question):
        repeated = " ".join(asked.split())
        if plain.casefold().startswith(repeated.casefold().rstrip("?.: ")):
            return plain[len(repeated.rstrip("?.: ")) :].lstrip("*_\"'?.:)-\u2013\u2014\u2192=> ")
    return answer


def _numbered_parts(line: str, count: int) -> Iterator[tuple[int, str]]:
    """Read the answers in a line: one as a rule, or those of the questions after it too, as in "1. red 2. yes"."""
    rest: str | None = line
    while rest is not None and (match := _LINE.fullmatch(rest.strip())) is not None:
        number, answer, rest = int(match["number"]), match["answer"], None
        following = re.search(
            rf"[\s,;|]+(?=[*_(\[]*{_NAME}#?{number + 1}[*_]*[.:)\]](?!\d))", answer, re.IGNORECASE
        )
        if following is not None and number < count:
            answer, rest = answer[: following.start()], answer[following.end() :]
        yield number, _undecorated(answer)


class _Object(list[tuple[str, Any]]):
    """The items of a JSON object; a key may stand in it twice."""


_Numbered = list[tuple[int, str]]


def _last_numbered(text: str) -> list[_Numbered]:
    """Find the numbered answers in the last whole JSON value of a text that holds some; empty if there is none."""
    decoder = json.JSONDecoder(object_pairs_hook=_Object)
    last: list[_Numbered] = []
    end = 0
    for _ in range(_MOST_STARTS):
        start = _START.search(text, end)
        if start is None:
            break
        try:
            found, end = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            end = start.end()
            continue
        last = _numbered(found, 0) or last
    return last


def _only(sets: Sequence[_Numbered]) -> _Numbered:
    """Return the numbered answers of a structure; none if it holds several sets that contradict each other."""
    return sets[0] if sets and all(each == sets[0] for each in sets) else []


def _numbered(value: Any, depth: int) -> list[_Numbered]:
    """List the sets of numbered answers in a structure, however deep they stand."""
    if depth > _DEEPEST:
        return []
    if isinstance(value, (dict, _Object)):
        items = list(value.items()) if isinstance(value, dict) else value
        keyed = [(match, each) for key, each in items if (match := _KEY.fullmatch(key)) is not None]
        if keyed:
            return [[(int(match[1]), _as_text(each)) for match, each in keyed]]
        return [found for _, each in items for found in _numbered(each, depth + 1)]
    if not isinstance(value, list):
        return []
    records = [record for each in value if (record := _record(each)) is not None]
    if records and len(records) == len(value):
        return [records]
    return [found for each in value for found in _numbered(each, depth + 1)]


def _record(value: Any) -> tuple[int, str] | None:
    """Read an object that holds the number of a question, and its answer."""
    items = list(value.items()) if isinstance(value, dict) else value if isinstance(value, _Object) else []
    numbers = [each for key, each in items if key.casefold() in _NUMBER_KEYS]
    answers = [each for key, each in items if key.casefold() in _ANSWER_KEYS]
    if len(numbers) != 1 or len(answers) != 1 or isinstance(numbers[0], bool):
        return None
    match = _KEY.fullmatch(str(numbers[0]).strip())
    return None if match is None else (int(match[1]), _as_text(answers[0]))


def _as_text(value: Any) -> str:
    """Write an answer as text; one of several parts is none, unless one of these alone is named the answer."""
    if isinstance(value, (dict, _Object)):
        items = list(value.items()) if isinstance(value, dict) else value
        answers = [each for key, each in items if key.casefold() in _ANSWER_KEYS]
        return _as_text(answers[0]) if len(answers) == 1 else ""
    if isinstance(value, list):
        return _as_text(value[0]) if len(value) == 1 else ""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _in_order(answers: Sequence[tuple[int, str]], count: int) -> list[str]:
    found = dict(answers)
    if len(found) < len(answers) or any(not 1 <= number <= count for number in found):
        return [""] * count
    return [found.get(number, "") for number in range(1, count + 1)]


def _undecorated(answer: str) -> str:
    """Remove what is left of Markdown around an answer."""
    return answer.strip().strip("|").strip().removesuffix("**").strip()
