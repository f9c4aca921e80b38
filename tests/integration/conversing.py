"""Conversations about letters with invented people, and what a model that reads tokens says in them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import re
import unicodedata
from string import ascii_lowercase, ascii_uppercase, digits
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from collections.abc import Iterator

_GIVEN = (
    "Anna",
    "José",
    "Søren",
    "Zoë",
    "Aarav",
    "Mehmet",
    "Ngozi",
    "Oleksandra",
    "Bo",
    "Jean-Luc",
    "Łukasz",
    "Aiko",
)
_FAMILY = (
    "Meyer",
    "Núñez",
    "Jørgensen",
    "O'Neil",
    "Patel",
    "Yildiz",
    "Okafor",
    "Kovalenko",
    "Vandersteen",
    "Nakamura",
)
_TURNS = 6


class Sender(BaseModel):
    """The sender of a letter."""

    name: str = Field(description="The name of the sender.")
    account: str = Field(description="The account.")


@dataclasses.dataclass
class Letter:
    """A letter: its lines, the private values in them by kind, and lines with other values of the same extent."""

    lines: tuple[str, ...]
    twin: tuple[str, ...]
    values: list[tuple[str, str]]


@dataclasses.dataclass
class Turn:
    """One question: its text, the letter that comes with it, and what the model says, in tokens and in values."""

    question: str
    letter: Letter | None
    said: str | dict[str, str]
    expected: Any
    way: str


def conversation(seed: int) -> list[Turn]:
    """Return the turns of a conversation. The same seed gives the same ones."""
    chance = random.Random(seed)
    numbers: dict[str, int] = {}
    known: dict[
        str, str
    ] = {}  # token -> value, as the model can know them: in the order in which they are read
    turns = []
    letters: list[Letter] = []
    for number in range(chance.randint(2, _TURNS)):
        letter = None
        if number == 0 or chance.random() < 0.4:
            again = letters and chance.random() < 0.3
            letter = chance.choice(letters) if again else _letter(chance)
            letters.append(letter)
            for kind, value in letter.values:
                if plain(value) not in {plain(each) for each in known.values()}:
                    numbers[kind] = numbers.get(kind, 0) + 1
                    known[f"{kind}_{numbers[kind]}"] = value
        turns.append(_turn(chance, number, letter, known))
    return turns


def plain(text: str) -> str:
    """Letters and digits alone, small and without accents."""
    return "".join(each for each in unicodedata.normalize("NFKD", text).casefold() if each.isalnum())


def texts_of(body: Any) -> Iterator[str]:
    """Every text and key in a request, but pictures; JSON in a text is read, too."""
    if isinstance(body, dict):
        for key, item in body.items():
            yield key
            yield from texts_of(item)
    elif isinstance(body, list):
        for item in body:
            yield from texts_of(item)
    elif isinstance(body, str) and not body.startswith("data:image/jpeg;base64,"):
        yield body
        with contextlib.suppress(ValueError):
            yield from texts_of(json.loads(body) if body[:1] in "{[" else None)


def pictures_of(body: Any) -> list[str]:
    """Every picture in a request, in base64."""
    return re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", json.dumps(body))


def _letter(chance: random.Random) -> Letter:
    name = f"{chance.choice(_GIVEN)} {chance.choice(_FAMILY)}"
    iban = (
        f"DE{chance.randint(10, 99)} " + " ".join(f"{chance.randint(0, 9999):04d}" for _ in range(4)) + " 00"
    )
    order = f"{chance.choice('ABCDEFGH')}{chance.randint(10_000, 99_999)}"
    lines = ("thank you for the letter", "Name: {}", "IBAN: {}", "Order: {}")
    values = [("NAME", name), ("IBAN", iban), ("TEXT", order)]
    own, other = zip(*((value, _other(value)) for _, value in values), strict=True)
    return Letter(_filled(lines, own), _filled(lines, other), values)


def _filled(lines: tuple[str, ...], values: tuple[str, ...]) -> tuple[str, ...]:
    return (lines[0], *(line.format(value) for line, value in zip(lines[1:], values, strict=True)))


def _other(value: str) -> str:
    """Return another value of the same extent: the next letter for each letter, the next digit for each digit."""
    ahead = {
        ord(one): other for row in (ascii_lowercase, ascii_uppercase, digits) for one, other in _rotated(row)
    }
    return value[:2] + value[2:].translate(ahead) if value.startswith("DE") else value.translate(ahead)


def _rotated(row: str) -> Iterator[tuple[str, str]]:
    return zip(row, row[1:] + row[0], strict=True)


def _turn(chance: random.Random, number: int, letter: Letter | None, known: dict[str, str]) -> Turn:
    token, value = chance.choice([*known.items()])
    name, owner = chance.choice([(each, held) for each, held in known.items() if each.startswith("NAME")])
    spelling = chance.choice(
        (str, str.upper, lambda text: text.replace(" ", "-"), lambda text: text.replace(" ", "  "))
    )
    question = chance.choice(("Who wrote?", f"Is it about {spelling(value)}?", f'And "{value}", {number}?'))
    way = chance.choice(("invoke", "stream", "ainvoke", "astream", "events", "call", "structured"))
    account = next(each for each in known if each.startswith("IBAN"))
    if way in ("call", "structured"):
        said: Any = {"name": f"Dr. {name}", "account": account}
        return Turn(question, letter, said, {"name": f"Dr. {owner}", "account": known[account]}, way)
    wording = chance.choice(
        (
            "**{}** wrote it.",
            "It says: {}",
            "{}'s letter, no. 7",
            "- {}\n- {}",
            "mail_{}.pdf",
            "[{}] and ({})",
        )
    )
    written = chance.choice((token, token, token.title(), token.replace("_", "\\_"), token.replace("_", " ")))
    text = wording.format(*[written] * wording.count("{}"))
    return Turn(question, letter, text, wording.format(*[value] * wording.count("{}")), way)
