"""The lines of ``data.jsonl``, and nothing that needs torch.

::

    {"image": "images/1.jpg", "split": "train", "group": "g1",
     "tasks": [{"question": "...", "answer": "...", "choices": ["..."], "answers": ["..."]}],
     "private": {"gender": "female", "age_group": "30-39"},
     "texts": {"name": "Odrana Velori", "id number": "482-1936"}, "may_be_shown": false}

``choices``, ``answers`` (of several annotators), ``group`` (whose images stay in one split) and ``texts`` are optional,
and an image may miss some of the private attributes. ``texts`` holds private words and numbers as they stand in the
picture. They are no classes, so no assessor learns them; the evaluation's text attack looks for them. A picture with
``may_be_shown`` shows nothing private; training sends it unprotected if it is told to take references from the model.

A line about a video has ``"video": "videos/1.mp4"`` in place of ``image``; everything else is about the whole video.
"""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trainer.oracle.comparing import choice_keys, exact, matching

Split = Literal["train", "val", "test"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
INDEX: Final = "data.jsonl"
"""Name of the file in a data set's folder."""

_FOLDED: Final = (
    {"_": " ", "\u2212": "-"}
    | dict.fromkeys("\u2018\u2019\u201b\u02bc`\u00b4", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f", '"')
)
"""Characters that stand for another."""
_NotEmpty = Annotated[str, Field(pattern=r"\S")]


class Task(BaseModel):
    """One question about an image, with the reference answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: _NotEmpty
    answer: _NotEmpty
    choices: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    """Answers of several annotators; the score is then the VQA soft accuracy."""

    @model_validator(mode="after")
    def _answer_is_a_choice(self) -> Task:
        forms = list(map(exact, self.choices))
        if not all(forms):
            raise ValueError("a choice is empty")
        if len(set(forms)) != len(forms):
            raise ValueError("two choices read the same")
        if forms and matching(self.answer, self.choices) is None:
            raise ValueError("the answer is none of the choices")
        return self

    @property
    def key(self) -> str:
        """Form in which the reference answer is compared: that of the choice that it is, if there are choices."""
        index = matching(self.answer, self.choices) if self.choices else None
        return choice_keys((self.answer,))[0] if index is None else choice_keys(self.choices)[index]


class Example(BaseModel):
    """One line of ``data.jsonl``: a picture or a video, with questions and labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str = Field(min_length=1)
    """File of the picture, or of the video that the line names under ``video``, relative to the data set's folder."""
    is_video: bool = False
    """Whether the file is a video."""
    split: Split
    group: str | None = None
    tasks: tuple[Task, ...] = Field(min_length=1)
    private: dict[_NotEmpty, _NotEmpty] = {}
    """Private attribute -> class."""
    texts: dict[_NotEmpty, _NotEmpty] = {}
    """Kind of private text -> the words or numbers in the picture."""
    may_be_shown: bool = False
    """Whether training may send the picture to the chat model as it is, to learn the model's own answers."""

    @model_validator(mode="before")
    @classmethod
    def _take_video(cls, values: Any) -> Any:
        if isinstance(values, dict) and "video" in values and not {"image", "is_video"} & values.keys():
            return {"image" if name == "video" else name: value for name, value in values.items()} | {
                "is_video": True
            }
        return values

    @model_validator(mode="after")
    def _no_question_has_two_answers(self) -> Example:
        known: dict[str, str] = {}
        for task in self.tasks:
            answer = task.key
            if known.setdefault(folded(task.question), answer) != answer:
                raise ValueError(
                    f"the question {task.question!r} has two answers. Keep one, or put those of several annotators "
                    "into 'answers'"
                )
        return self


def facts_of(example: Example) -> dict[str, str]:
    """Return what a line says of its picture: each private class, private text and answer, in its normal form."""
    classes = {
        f"the private attribute {folded(name)!r}": folded(value) for name, value in example.private.items()
    }
    texts = {f"the text {folded(name)!r}": folded(value) for name, value in example.texts.items()}
    answers = {f"the answer to {folded(task.question)!r}": task.key for task in example.tasks}
    return {**classes, **texts, **answers}


def folded(text: str) -> str:
    """Write a name or question without that in which spellings of one thing differ.

    These are capitals, spaces, characters that are not seen, kinds of dashes and quotes, and punctuation at the end.

    Example:
        >>> folded("  Age  Group ") == folded("age_group")
        True
        >>> folded("20\u201329") == folded("20-29")
        True
    """
    seen = "".join(
        _FOLDED.get(character, "-" if unicodedata.category(character) == "Pd" else character)
        for character in unicodedata.normalize("NFKC", text)
        if unicodedata.category(character) != "Cf"
    )
    words = " ".join(seen.casefold().split())
    return words.rstrip(" .,:;!?") or words


def as_utf8(text: bytes) -> bytes:
    """Remove the marks of byte order that some programs write, and convert UTF-16 that has one to UTF-8."""
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = text.decode("utf-16", errors="replace").encode()
    # At the beginning of any line: files are joined.
    return re.sub(rb"(?m)^(?:\xef\xbb\xbf)+", b"", text)


def read_line(line: bytes) -> Example | str:
    """Read one line.

    Args:
        line: The line, UTF-8.

    Returns:
        Its content, or a sentence without a full stop that says why the line is malformed.
    """
    try:
        # From the bytes, not through `json`: it accepts halves of surrogate pairs, which can't be sent or stored.
        example, repeated = Example.model_validate_json(line), _repeated_name(line)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "json_invalid":
            return "not JSON"
        if first["type"] == "string_pattern_mismatch":
            return f"{place}: is empty"
        if place == "image" and _names_video(line):
            place = "video"
        return f"{place}: {first['msg']}".lstrip(": ")
    return example if repeated is None else f"{repeated!r} stands twice in one object. Keep one"


def _names_video(line: bytes) -> bool:
    content = json.loads(line)
    return isinstance(content, dict) and "video" in content and "image" not in content


def _repeated_name(line: bytes) -> str | None:
    """Find a name that an object of a line has twice: which of its values is meant can't be known."""
    repeated: list[str] = []

    def note(items: list[tuple[str, object]]) -> None:
        names = [name for name, _ in items]
        repeated.extend(name for name in names if names.count(name) > 1)

    json.loads(line.decode(), object_pairs_hook=note)
    return next(iter(repeated), None)
