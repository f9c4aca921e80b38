"""Documents as words where they stand, and a reader that finds them."""

from __future__ import annotations

from PIL import Image

from tests.unit.langchain_vpp.engines.words.made import FakeReader, words_of
from trainer.sandbox.screens.model import ScreenModel

SIZE = (900, 700)
INVOICE = (
    "Invoice   From: Copper Kettle Labs", "Reference: X34920208", "Bill to: Ada Moreau", "Due date   03/25/2026",
    "Subtotal $1,000.00", "Total amount   $1,497.96", "IBAN: DE89 3704 0044 0532 0130 00",
)  # fmt: skip
COVERED = (
    "From: NAME_1",
    "Call me: PHONE _1",
    "Please pay by: DATE_2",
    "Total: AMOUNT_3",
    "IBAN_1",
    "NUMBER_2 unread",
)


def model(*lines):
    return ScreenModel(FakeReader(words_of(*lines), SIZE))


def picture():
    return Image.new("RGB", SIZE, "white")
