"""Data sets of questions about drawn documents: invoices, mail and forms."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from trainer.sandbox.drawing.documents.browser import find_browser, render
from trainer.sandbox.drawing.documents.pages import styled_page
from trainer.sandbox.drawing.documents.people import invent_people
from trainer.sandbox.drawing.drawn_data import Entry, write_data
from trainer.sandbox.drawing.scenes import pick

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np

    from trainer.data.format import Split

_WINDOW: Final = (640, 420)
"""Size of a page, CSS pixels, which are those of the picture."""
_TRAINED: Final = 2
"""Layouts of training and validation; the one after them is held back for the test split."""
_ITEMS: Final = ("Paper", "Office chairs", "Cleaning", "Monthly support", "Printer", "Coffee", "Desk lamps")
_SUBJECTS: Final = (
    "Lunch on Friday", "Offer for the office move", "Notes from the meeting", "Your monthly report", "New price list",
    "Plan for next week",
)  # fmt: skip


class TaskPage(NamedTuple):
    """A page with questions about it.

    Attributes:
        values: Variables of the template.
        answers: Question -> its answer.
        texts: Kind of private text -> the text.
    """

    values: Mapping[str, Any]
    answers: Mapping[str, str]
    texts: Mapping[str, str]


def make_task_data(
    out: Path,
    task: str,
    *,
    sizes: Mapping[Split, int],
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Draw a data set of documents with questions about them.

    The pages of the test split have a layout that the other splits lack.

    Args:
        out: A folder that is missing or empty.
        task: A name in :data:`DOCUMENT_TASKS`.
        sizes: Pictures in each split.
        seed: Seed of the pages, at least 0.
        progress: Called with (pictures written, pictures in all) after each picture.

    Raises:
        DataError: If there is no browser, a size or the seed is negative, or the folder can't be written or is not
            empty.
    """
    browser = find_browser()

    def draw(generator: np.random.Generator, split: Split, index: int) -> Entry:
        layout = _TRAINED if split == "test" else index % _TRAINED
        html, page = design_task_page(task, layout, generator)
        picture = render(html, _WINDOW, 1.0, browser=browser).picture
        tasks = [{"question": question, "answer": answer} for question, answer in page.answers.items()]
        return Entry(picture, {"tasks": tasks, "texts": dict(page.texts)})

    write_data(out, draw, sizes=sizes, seed=seed, suffix=".png", progress=progress)


def design_task_page(task: str, layout: int, generator: np.random.Generator) -> tuple[str, TaskPage]:
    """Write a page in HTML, and questions about it with their answers.

    Args:
        task: A name in :data:`DOCUMENT_TASKS`.
        layout: 0, 1, or 2 for the layout that is held back.
        generator: Source of people, words, fonts and colours.
    """
    template, design = DOCUMENT_TASKS[task]
    page = design(generator)
    return styled_page(template, generator, layout=layout, **page.values), page


def _invoice(generator: np.random.Generator) -> TaskPage:
    seller, payer = invent_people(generator, 2)
    prices = [int(generator.integers(1_000, 90_000)) for _ in range(2)]
    items = [_ITEMS[index] for index in generator.permutation(len(_ITEMS))[:2]]
    sign = pick(generator, ("$", "€"))
    total, due = _money(sum(prices), sign), _date(generator)
    labels = {
        "title": pick(generator, ("Invoice", "Bill")),
        "sender": pick(generator, ("From", "Company", "Supplier")),
        "payer": pick(generator, ("Bill to", "Customer name", "Recipient")),
        "number": pick(generator, ("Invoice no.", "Invoice number", "Reference")),
        "due": pick(generator, ("Due date", "Payment due", "Please pay by")),
        "total": pick(generator, ("Total", "Amount due", "Total amount")),
    }
    values = {
        "labels": labels,
        "company": seller.company,
        "payer": payer.name,
        "number": seller.number,
        "due": due,
        "items": [(item, _money(price, sign)) for item, price in zip(items, prices, strict=True)],
        "total": total,
        "iban": seller.iban,
    }
    answers = {
        "What is the total?": total,
        "When is it due?": due,
        "Whom is it from?": seller.company,
        "What is the IBAN?": seller.iban,
        "Who has to pay?": payer.name,
    }
    return TaskPage(values, answers, {"company": seller.company, "name": payer.name, "account": seller.iban})


def _mail(generator: np.random.Generator) -> TaskPage:
    sender, reader = invent_people(generator, 2)
    subject = pick(generator, _SUBJECTS)
    time = f"{generator.integers(8, 18)}:{generator.integers(0, 4) * 15:02}"
    price = _money(int(generator.integers(10_000, 900_000)), "$")
    unread = str(generator.integers(2, 60))
    labels = {
        "sender": pick(generator, ("From", "Sender")),
        "subject": pick(generator, ("Subject", "About")),
        "call": pick(generator, ("Phone", "Telephone", "Call me")),
    }
    values = {
        "labels": labels,
        "sender": sender.name,
        "initial": sender.first[0],
        "greeting": f"{pick(generator, ('Hello', 'Dear'))} {reader.first}",
        "subject": subject,
        "time": time,
        "price": price,
        "unread": unread,
        "phone": sender.phone,
    }
    answers = {
        "Whom is it from?": sender.name,
        "What is the subject?": subject,
        "When does the meeting begin?": time,
        "What does the offer cost?": price,
        "How many mails are unread?": unread,
        "Which phone number is given?": sender.phone,
    }
    return TaskPage(values, answers, {"name": sender.name, "phone": sender.phone})


def _form(generator: np.random.Generator) -> TaskPage:
    person = invent_people(generator, 1)[0]
    cancel = pick(generator, ("Cancel", "Discard", "Go back"))
    save = pick(generator, ("Save", "Save and continue", "Submit"))
    news, visits = pick(generator, ("on", "off")), str(generator.integers(2, 90))
    fields = (
        ("First name", person.first),
        ("Last name", person.last),
        (pick(generator, ("City", "Town")), person.town),
        (pick(generator, ("E-mail address", "E-mail")), person.mail),
        ("Visits", visits),
        ("Newsletter", news),
    )
    values = {
        "labels": {"title": pick(generator, ("Delivery address", "Your account", "Contact"))},
        "fields": fields,
        "cancel": cancel,
        "save": save,
    }
    answers = {
        "Which button cancels?": cancel,
        "Which button saves?": save,
        "What is the last name?": person.last,
        "Which city is given?": person.town,
        "What is the mail address?": person.mail,
        "How many visits are there?": visits,
        "Is the newsletter on or off?": news,
    }
    return TaskPage(values, answers, {"name": person.last, "address": person.town, "mail": person.mail})


DOCUMENT_TASKS: Final[Mapping[str, tuple[str, Callable[[np.random.Generator], TaskPage]]]] = MappingProxyType(
    {"invoices": ("task_invoice", _invoice), "mail": ("task_mail", _mail), "forms": ("task_form", _form)}
)
"""Name of a task -> its template, and what invents a page."""


def _money(cents: int, sign: str) -> str:
    return f"{sign}{cents // 100:,}.{cents % 100:02}"


def _date(generator: np.random.Generator) -> str:
    return f"{generator.integers(1, 13):02}/{generator.integers(13, 29)}/{generator.integers(2025, 2028)}"
