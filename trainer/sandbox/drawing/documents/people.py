"""Invented people of many naming cultures, with the items that stand in documents."""

from __future__ import annotations

import string
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from trainer.sandbox.drawing.scenes import pick

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

_COMPANIES: Final = (
    "Amber Coast", "Bright Meadow", "Cobalt Harbor", "Copper Kettle", "Falcon Ridge", "Granite Peak", "Hollow Oak",
    "Ivory Tower", "Juniper Lane", "Lantern", "Maple Street", "Northern Light", "Obsidian", "Paper Crane",
    "Quicksilver", "Red Anchor", "Silver Birch", "Stone Bridge", "Summit", "Velvet Fox",
)  # fmt: skip
_TRADES: Final = (
    "Analytics", "Bank", "Bio", "Capital", "Consulting", "Foods", "GmbH", "Group", "Health", "Inc", "Insurance", "Labs",
    "Logistics", "Ltd", "Partners", "Realty", "Robotics", "Software", "Studio", "Systems",
)  # fmt: skip
_STREETS: Final = (
    "Abbey Road", "Bahnhofstrasse", "Calle Mayor", "Cherry Lane", "Elm Street", "Hauptstrasse", "Market Square",
    "Mill Hill", "Orchard Avenue", "Park View", "Rue du Moulin", "Station Road", "Via Garibaldi", "Windmill Close",
)  # fmt: skip
_TOWNS: Final = (
    "Bath", "Brighton", "Freiburg", "Girona", "Krakow", "Lyon", "Marburg", "Nantes", "Reading", "Salerno", "Tampere",
    "Utrecht", "Wells", "York",
)  # fmt: skip
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_IBAN_LENGTHS: Final = {"DE": 22, "ES": 24, "AT": 20, "PL": 28}
"""Countries whose account numbers have digits alone -> length of an IBAN."""
_PREFIXES: Final = ("sk-proj-", "ghp_", "AKIA", "xoxb-", "rk_live_", "glpat-", "eyJ", "pat_")


class Person(NamedTuple):
    """Somebody who does not exist, with a place of work that does not exist."""

    first: str
    last: str
    mail: str
    handle: str
    phone: str
    street: str
    town: str
    iban: str
    born: str
    number: str
    company: str
    host: str
    secret: str

    @property
    def name(self) -> str:
        """Given and family name."""
        return f"{self.first} {self.last}"

    @property
    def initials(self) -> str:
        """First letters of both names."""
        return self.first[0] + self.last[0]


def invent_people(generator: np.random.Generator, count: int) -> tuple[Person, ...]:
    """Invent people, each of a culture drawn at random.

    Args:
        generator: Source of randomness.
        count: Number of people.
    """
    return tuple(_person(generator) for _ in range(count))


@cache
def _names() -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """Return given and family names, a pair for each culture."""
    text = Path(__file__).with_name("templates").joinpath("names.txt").read_text(encoding="utf-8")
    rows = (line.split("|") for line in text.splitlines() if not line.startswith("#"))
    return tuple((tuple(given.split()), tuple(family.split())) for _, given, family in rows)


def _person(generator: np.random.Generator) -> Person:
    cultures = _names()
    given, family = cultures[int(generator.integers(len(cultures)))]
    first, last = pick(generator, given), pick(generator, family)
    company = pick(generator, _COMPANIES)
    company = company if generator.random() < 0.2 else f"{company} {pick(generator, _TRADES)}"
    host = f"{company.lower().replace(' ', '-')}.{pick(generator, ('com', 'example', 'io', 'org'))}"
    plain = f"{first}{pick(generator, ('.', '', '_'))}{last}".lower().replace("-", "")
    return Person(
        first=first,
        last=last,
        mail=f"{plain}@{host}",
        handle=f"{first.lower()}{generator.integers(1, 99)}",
        phone=_phone(generator),
        street=_street(generator),
        town=f"{generator.integers(10000, 99999)} {pick(generator, _TOWNS)}",
        iban=iban(generator),
        born=birth_date(generator),
        number=f"{pick(generator, tuple('CFGHKLNPRTVX'))}{generator.integers(10**7, 10**8)}",
        company=company,
        host=host,
        secret=pick(generator, _PREFIXES) + _letters(generator, 24),
    )


def _phone(generator: np.random.Generator) -> str:
    tail = generator.integers(0, 10, 10)
    form = pick(generator, ("+1 ({}{}{}) 555-01{}{}", "+49 {}{}{} {}{}{}{}{}{}", "0{}{}{} {}{}{} {}{}{}{}"))
    return form.format(*(int(each) or 2 for each in tail))


def _street(generator: np.random.Generator) -> str:
    street, number = pick(generator, _STREETS), int(generator.integers(1, 190))
    return f"{street} {number}" if "strasse" in street or "Via" in street else f"{number} {street}"


def birth_date(generator: np.random.Generator) -> str:
    """Draw the birth date of an adult, with the month as a number or a word."""
    day, month, year = (int(generator.integers(low, high)) for low, high in ((1, 29), (1, 13), (1940, 2005)))
    return f"{day:02}.{month:02}.{year}" if generator.random() < 0.5 else f"{day} {_MONTHS[month - 1]} {year}"


def iban(generator: np.random.Generator) -> str:
    """Draw an account number (IBAN) with valid check digits, in groups of four."""
    country = pick(generator, tuple(_IBAN_LENGTHS))
    digits = "".join(str(each) for each in generator.integers(0, 10, _IBAN_LENGTHS[country] - 4))
    letters = "".join(str(int(letter, 36)) for letter in country)
    whole = f"{country}{98 - int(digits + letters + '00') % 97:02}{digits}"
    return " ".join(whole[start : start + 4] for start in range(0, len(whole), 4))


def _letters(generator: np.random.Generator, count: int) -> str:
    pool: Sequence[str] = string.ascii_letters + string.digits
    return "".join(pool[index] for index in generator.integers(0, len(pool), count))
