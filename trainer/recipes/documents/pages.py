"""Pages with private items: letters, chats, tables and ID cards in many fonts, sizes and colours."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from trainer.recipes.documents.people import invent_people
from trainer.sandbox.drawing.scenes import pick

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from trainer.recipes.documents.people import Person

KINDS: Final = ("letter", "chat", "table", "ID card")
"""Kinds of pages."""
_FONTS: Final = (
    "DejaVu Sans", "DejaVu Sans Condensed", "DejaVu Sans Mono", "DejaVu Serif", "Liberation Mono", "Liberation Sans",
    "Liberation Sans Narrow", "Liberation Serif",
)  # fmt: skip
_ACCENTS: Final = ("#0b57d0", "#0f766e", "#9a3412", "#7e22ce", "#166534", "#be123c", "#334155", "#b45309")
_LIGHT: Final = ("#ffffff", "#ffffff", "#fbf7ee", "#f3f6fb", "#eef4ee")
_DARK: Final = ("#10151c", "#1b1b1f", "#0e1621", "#202124")
_DESKS: Final = ("#8a6f52", "#d8d4cc", "#4b5563", "#ffffff", "#c7b299")
_SCALES: Final = (1.0, 1.25, 1.5, 2.0, 3.0)
_LONGEST: Final = 1600
"""Longest side of a picture, pixels; larger ones take long to read and show no more."""
_CAPTIONS: Final[Mapping[str, Sequence[str]]] = MappingProxyType(
    {
        "name": ("Name", "Full name", "Holder"),
        "address": ("Address", "Home address", "Street"),
        "phone number": ("Phone", "Telephone", "Mobile"),
        "mail address": ("Mail", "E-mail", "Contact"),
        "IBAN": ("IBAN", "Account", "Bank account"),
        "birth date": ("Date of birth", "Born", "Birth date"),
        "nationality": ("Nationality", "Citizen"),
        "id number": ("ID number", "Customer no.", "Your reference", "Document no."),
    }
)
_SUBJECTS: Final[Mapping[str, Sequence[str]]] = MappingProxyType(
    {
        "letter": (
            "Invoice for March",
            "Your application",
            "Change of tariff",
            "Notice of termination",
            "Reminder",
        ),
        "chat": ("",),
        "table": ("Customers", "Payroll", "Members", "Open payments"),
        "ID card": (
            "IDENTITY CARD",
            "Membership card",
            "DRIVING LICENCE",
            "Residence permit",
            "Health insurance",
        ),
    }
)
_OPENINGS: Final = (
    "thank you for your letter of last week. We have looked through the papers and found two points still open.",
    "as agreed on the telephone we send you the figures for the past quarter. The meter was read on the usual day.",
    "we are glad that you have chosen our service, and confirm the order on the conditions printed overleaf.",
)
_CLOSINGS: Final = (
    "If you have already paid, please take no notice of this letter. The office is open on weekdays from nine to five.",
    "Should anything be unclear, call us or come by. You need no appointment before noon.",
    "The contract then ends without further notice. Keep this page with your records for three years.",
)
_TALK: Final = (
    "Hi! Did the parcel arrive?",
    "Not yet, the courier rang at the wrong door again.",
    "Typical. Shall we still meet on Saturday?",
    "Yes, but only after lunch.",
    "Great, see you then.",
)


class Page(NamedTuple):
    """A page, before a browser renders it."""

    kind: str
    """One of :data:`KINDS`."""
    html: str
    size: tuple[int, int]
    """Width and height, CSS pixels."""
    scale: float
    """Pixels of the picture for each CSS pixel."""
    items: Mapping[str, tuple[str, ...]]
    """Kind of private item -> the texts of that kind on the page."""


def design_page(kind: str, generator: np.random.Generator) -> Page:
    """Design a page.

    Args:
        kind: One of :data:`KINDS`.
        generator: Source of randomness; the same state gives the same page.
    """
    design = _DESIGNS[kind](generator)
    width, height = design.size
    html = _environment().get_template(f"{kind.lower().replace(' ', '_')}.html")
    skin = _skin(generator, width / design.letters, dark=design.dark)
    scales = [each for each in _SCALES if each * max(design.size) <= _LONGEST]
    subject = pick(generator, _SUBJECTS[kind])
    captions = {each: pick(generator, choices) for each, choices in _CAPTIONS.items()}
    page = html.render(
        design.values,
        skin=skin,
        people=design.people,
        captions=captions,
        subject=subject,
        width=width,
        height=height,
    )
    return Page(kind, page, design.size, scales[int(generator.integers(len(scales)))], design.items)


class _Design(NamedTuple):
    """Choices for a page that depend on its kind."""

    size: tuple[int, int]
    letters: float
    """Width of the page as a multiple of the font's size."""
    people: Sequence[Person]
    items: Mapping[str, tuple[str, ...]]
    values: Mapping[str, Any]
    """Further values of the template."""
    dark: float = 0.0
    """Probability of a dark page."""


def _letter(generator: np.random.Generator) -> _Design:
    sender, receiver = people = invent_people(generator, 2)
    form, short = generator.random() < 0.5, generator.random() < 0.5
    facts: tuple[str, ...] = ("id number", "birth date", "nationality")
    if not form:
        facts = ("id number", pick(generator, facts[1:]))
    width = int(generator.choice((480, 600, 720, 794, 1000)))
    items = {
        "name": (sender.name, receiver.name),
        "address": (sender.street, receiver.street),
        **{kind: (sender.items[kind],) for kind in ("phone number", "mail address", "IBAN")},
        **{kind: (receiver.items[kind],) for kind in facts},
    }
    values = {
        "facts": facts,
        "form": form,
        "short": short,
        "opening": pick(generator, _OPENINGS),
        "closing": pick(generator, _CLOSINGS),
    }
    # A short one in large type, as on a telephone, or a whole page.
    letters = generator.uniform(22, 34) if short else generator.uniform(36, 56)
    return _Design((width, round(1.414 * width)), letters, people, items, values)


def _chat(generator: np.random.Generator) -> _Design:
    (other,) = people = invent_people(generator, 1)
    told = {
        "address": f"I live at {other.street} now, third floor.",
        "IBAN": f"Send it to {other.items['IBAN']} please",
        "phone number": f"My new number is {other.items['phone number']}",
        "mail address": f"Or write to {other.items['mail address']}",
    }
    kinds = [list(told)[index] for index in generator.permutation(len(told))[:3]]
    texts = [text for pair in zip(_TALK, (told[kind] for kind in kinds), strict=False) for text in pair]
    lines = [{"text": text, "mine": generator.random() < 0.4} for text in texts]
    items = {"name": (other.name,), **{kind: (other.items[kind],) for kind in kinds}}
    width = int(generator.choice((360, 390, 412, 540, 768)))
    values = {"lines": lines, "minute": int(generator.integers(10, 40))}
    size = (width, round(generator.uniform(1.7, 2.1) * width))
    return _Design(size, generator.uniform(25, 36), people, items, values, dark=0.4)


def _table(generator: np.random.Generator) -> _Design:
    people = invent_people(generator, 6)
    kinds = ("name", *(list(_CAPTIONS)[1 + index] for index in generator.permutation(len(_CAPTIONS) - 1)[:3]))
    items = {kind: tuple(person.items[kind] for person in people) for kind in kinds}
    width = int(generator.choice((640, 800, 960, 1200)))
    size = (width, round(generator.uniform(0.5, 0.75) * width))
    return _Design(size, generator.uniform(58, 76), people, items, {"facts": kinds}, dark=0.25)


def _id_card(generator: np.random.Generator) -> _Design:
    (holder,) = people = invent_people(generator, 1)
    kinds = ["name", "birth date", "nationality", "id number", "address"]
    kinds = [kinds[index] for index in generator.permutation(len(kinds))[:4]]
    width = int(generator.choice((400, 500, 640, 860)))
    size = (width, round(width / 1.586))
    items = {kind: (holder.items[kind],) for kind in kinds}
    return _Design(size, generator.uniform(42, 56), people, items, {"facts": kinds})


_DESIGNS: Final[Mapping[str, Callable[[np.random.Generator], _Design]]] = MappingProxyType(
    {"letter": _letter, "chat": _chat, "table": _table, "ID card": _id_card}
)


def _skin(generator: np.random.Generator, size: float, *, dark: float) -> Mapping[str, Any]:
    """Choose fonts, colours and distances."""
    is_dark = generator.random() < dark
    return {
        "font": pick(generator, _FONTS),
        "size": round(size, 1),
        "weight": 700 if generator.random() < 0.15 else 400,
        "leading": round(generator.uniform(1.25, 1.6), 2),
        "spacing": round(generator.choice((0.0, 0.0, 0.3, 0.8)), 1),
        "heading": round(generator.uniform(1.3, 2.0), 2),
        "margin": round(generator.uniform(1.0, 3.5) * size),
        "radius": round(generator.uniform(0, 1.2) * size),
        "head": pick(generator, ("left", "center", "right")),
        "turn": int(generator.integers(0, 360)),
        "background": pick(generator, _DARK if is_dark else _LIGHT),
        "raised": "#2d343d" if is_dark else pick(generator, ("#e9edf2", "#efe7d8", "#e3efe6")),
        "ink": "#e8eaed" if is_dark else pick(generator, ("#000000", "#1b1f24", "#16324f")),
        "soft": "#9aa0a6" if is_dark else pick(generator, ("#5f6368", "#6b7280", "#7a6a55")),
        "accent": pick(generator, _ACCENTS),
        "on_accent": "#ffffff",
        "desk": pick(generator, _DESKS),
        **{name: generator.random() < 0.5 for name in ("banner", "titled", "stacked", "capitals")},
    }


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("trainer.recipes.documents"), autoescape=True, undefined=StrictUndefined
    )
