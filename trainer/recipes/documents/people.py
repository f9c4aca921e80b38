"""Invented people with the private items that stand in documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from trainer.sandbox.drawing.scenes import pick

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

_FIRST_NAMES: Final = (
    "Agnes", "Alistair", "Beatrix", "Benedict", "Camilla", "Casimir", "Charlotte", "Dominik", "Eleanor", "Emanuel",
    "Florence", "Frederick", "Georgina", "Gregory", "Henrietta", "Hubert", "Isabella", "Jacqueline", "Jeremiah",
    "Katharina", "Leonard", "Magdalena", "Maximilian", "Nathaniel", "Octavia", "Patricia", "Quentin", "Rosalind",
    "Sebastian", "Stephanie", "Theodora", "Thomas", "Ursula", "Valentina", "Vincent", "Wilhelmina", "Yolanda",
    "Zachary",
)  # fmt: skip
_LAST_NAMES: Final = (
    "Abernathy", "Bergstrom", "Blackwood", "Castellano", "Chowdhury", "Delacroix", "Dimitrov", "Eriksson",
    "Fitzgerald", "Gallagher", "Grunewald", "Hernandez", "Hoffmann", "Ivanova", "Jankowski", "Kowalczyk", "Lindqvist",
    "Lombardi", "MacIntyre", "Mukherjee", "Nakamura", "Okonkwo", "Papadakis", "Petrescu", "Quiroga", "Rasmussen",
    "Rodrigues", "Schneider", "Silverstein", "Szymanski", "Thornbury", "Underwood", "Vandermeer", "Venkataraman",
    "Wojtowicz", "Yamamoto", "Zimmermann",
)  # fmt: skip
_STREETS: Final = (
    "Abbey Gardens", "Bellevue Terrace", "Cathedral Square", "Dovecote Lane", "Elmwood Avenue", "Foundry Street",
    "Gooseberry Hill", "Harbour Road", "Ironmonger Row", "Juniper Close", "Kingfisher Way", "Lighthouse Parade",
    "Meadowsweet Drive", "Northgate Crescent", "Orchard Rise", "Pemberton Place", "Quarry Bank", "Riverside Walk",
    "Saddlers Court", "Thistledown Grove", "Upland Mews", "Vineyard Passage", "Watermill Lane", "Yarrow Street",
)  # fmt: skip
_TOWNS: Final = (
    "Ashbourne", "Brackley", "Cromford", "Dunmore", "Eastwick", "Fernhill", "Glenfield", "Hartwell", "Ilkley",
    "Kelmscott", "Lynmouth", "Marlow", "Northwich", "Oakham", "Penrith", "Rothbury", "Selworthy", "Tewkesbury",
    "Uppingham", "Wareham",
)  # fmt: skip
_NATIONALITIES: Final = (
    "Argentinian", "Australian", "Bangladeshi", "Colombian", "Croatian", "Ethiopian", "Indonesian", "Lithuanian",
    "Mozambican", "Norwegian", "Pakistani", "Portuguese", "Singaporean", "Ukrainian", "Venezuelan",
)  # fmt: skip
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_MAIL_HOSTS: Final = ("mailbox.example", "post.example", "inbox.example")
_IBAN_LENGTHS: Final = {"DE": 22, "ES": 24, "AT": 20, "PL": 28}
"""Countries whose account numbers have digits alone -> length of an IBAN."""


class Person(NamedTuple):
    """Somebody who does not exist."""

    name: str
    street: str
    town: str
    items: Mapping[str, str]
    """Kind of private item -> the text, as it is printed; among them name and address."""


def invent_people(generator: np.random.Generator, count: int) -> tuple[Person, ...]:
    """Invent people of whom no two share a name or a street.

    Args:
        generator: Source of randomness.
        count: Number of people, at most 24.
    """
    first, last, streets, towns = (
        [pool[index] for index in generator.permutation(len(pool))]
        for pool in (_FIRST_NAMES, _LAST_NAMES, _STREETS, _TOWNS)
    )
    return tuple(
        _person(generator, f"{first[index]} {last[index]}", streets[index], towns[index % len(towns)])
        for index in range(count)
    )


def _person(generator: np.random.Generator, name: str, street: str, town: str) -> Person:
    address = f"{generator.integers(1, 190)} {street}"
    items = {
        "name": name,
        "address": address,
        "phone number": f"+44 {generator.integers(1000, 2000)} {generator.integers(100000, 1000000)}",
        "mail address": f"{name.lower().replace(' ', '.')}@{pick(generator, _MAIL_HOSTS)}",
        "IBAN": _iban(generator),
        "birth date": _birth_date(generator),
        "nationality": pick(generator, _NATIONALITIES),
        "id number": _id_number(generator),
    }
    return Person(name, address, f"{town} {generator.integers(10000, 99999)}", items)


def _birth_date(generator: np.random.Generator) -> str:
    day, month, year = (int(generator.integers(low, high)) for low, high in ((1, 29), (1, 13), (1940, 2005)))
    return f"{day:02}.{month:02}.{year}" if generator.random() < 0.5 else f"{day} {_MONTHS[month - 1]} {year}"


def _id_number(generator: np.random.Generator) -> str:
    return f"{pick(generator, 'CFGHJKLMNPRTVWXYZ')}{generator.integers(10**8, 10**9)}"


def _iban(generator: np.random.Generator) -> str:
    """Make an account number with valid check digits, in groups of four."""
    country = pick(generator, tuple(_IBAN_LENGTHS))
    digits = "".join(str(each) for each in generator.integers(0, 10, _IBAN_LENGTHS[country] - 4))
    letters = "".join(str(int(letter, 36)) for letter in country)
    whole = f"{country}{98 - int(digits + letters + '00') % 97:02}{digits}"
    return " ".join(whole[start : start + 4] for start in range(0, len(whole), 4))
