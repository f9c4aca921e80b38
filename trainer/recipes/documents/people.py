"""Invented people with the private items that stand in documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from trainer.sandbox.drawing.documents.people import birth_date, iban
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
_MAIL_HOSTS: Final = ("mailbox.example", "post.example", "inbox.example")


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
        "IBAN": iban(generator),
        "birth date": birth_date(generator),
        "nationality": pick(generator, _NATIONALITIES),
        "id number": _id_number(generator),
    }
    return Person(name, address, f"{town} {generator.integers(10000, 99999)}", items)


def _id_number(generator: np.random.Generator) -> str:
    return f"{pick(generator, 'CFGHJKLMNPRTVWXYZ')}{generator.integers(10**8, 10**9)}"
