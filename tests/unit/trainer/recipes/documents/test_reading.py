"""Documents count as showing an item from 60 % of it on; originals are the ceiling and grey the floor."""

from __future__ import annotations

import shutil

import pytest
from PIL import Image

from trainer.attackers.ocr import best_readers
from trainer.recipes.documents.camera import Shot
from trainer.recipes.documents.reading import Document, draw_documents, read_documents
from trainer.sandbox.drawing.documents.browser import BROWSERS

_GREY = (128, 128, 128)


class Closing:
    """The identity below level 0.5, grey from there on."""

    def protect(self, image, level):
        return image.copy() if level < 0.5 else Image.new("RGB", image.size, _GREY)


def _document(number: int, kind: str, taken: str, **items: tuple[str, ...]) -> Document:
    """A picture whose red channel tells the reader its number."""
    return Document(kind, taken, Shot(Image.new("RGB", (8, 6), (number, 0, 0))), items)


def _reader(*texts: str):
    return lambda image: () if image[1, 0, 0] == 128 else (texts[int(image[0, 0, 0])],)


def _read(documents, *texts, levels=(0.0, 1.0)):
    return read_documents(documents, Closing(), levels, _reader(*texts))


@pytest.mark.parametrize(("read", "shown"), [("abcdef", 1), ("abcde", 0), ("bcdefg", 1), ("", 0)])
def test_an_item_is_shown_from_three_fifths_of_its_characters_on(read, shown):
    documents = [_document(0, "letter", "screenshot", name=("abcdefghij",))]
    assert _read(documents, f"xxxx {read} xxxx")[0].shown.shown == shown


def test_originals_show_all_that_can_be_read_and_grey_shows_nothing():
    documents = [
        _document(0, "letter", "screenshot", name=("Anna Lindqvist", "Otto Bergstrom")),
        _document(1, "letter", "turned", name=("Paula Petrescu",), phone=("+44 1234 567890",)),
    ]
    texts = ("from OTTO BERGSTROM to you", "call +44 1234 567890 now")
    originals, opened, closed, grey = _read(documents, *texts)
    assert [(each.engine, each.level) for each in (originals, opened, closed, grey)] == [
        ("none", 0.0), ("ours", 0.0), ("ours", 1.0), ("grey", 1.0),
    ]  # fmt: skip
    assert originals.shown == opened.shown
    assert (originals.shown.pictures, originals.shown.shown, originals.shown.by_chance) == (2, 2, 0)
    assert [(each.subject, each.pictures, each.shown) for each in originals.items] == [
        ("name", 2, 1),
        ("phone", 1, 1),
    ]
    assert [(each.subject, each.pictures, each.shown) for each in originals.taken] == [
        ("screenshot", 1, 1), ("turned", 1, 1),
    ]  # fmt: skip
    assert closed.shown.shown == grey.shown.shown == 0
    assert not any(each.shown for each in (*closed.items, *closed.taken, *grey.items, *grey.taken))


def test_what_is_found_of_another_pictures_items_is_counted_as_chance():
    documents = [
        _document(number, "chat", "noisy", name=(name,))
        for number, name in enumerate(("abcdefgh", "stuvwxyz"))
    ]
    (originals, *_) = _read(documents, "stuvwxyz", "stuvwxyz")
    assert (originals.shown.shown, originals.shown.by_chance) == (1, 1)


def test_kinds_are_counted_apart():
    documents = [
        _document(number, kind, "noisy", name=("abcdefgh",)) for number, kind in enumerate(("chat", "table"))
    ]
    found = _read(documents, "abcdefgh", "", levels=(0.0,))
    assert [(each.kind, each.engine, each.shown.shown) for each in found] == [
        ("chat", "none", 1), ("chat", "ours", 1), ("chat", "grey", 0),
        ("table", "none", 0), ("table", "ours", 0), ("table", "grey", 0),
    ]  # fmt: skip


@pytest.mark.slow(seconds=7)
def test_in_rendered_documents_items_are_read_and_in_grey_ones_not():
    pytest.importorskip("rapidocr")
    if not any(map(shutil.which, BROWSERS)):
        pytest.skip("there is no Chromium on this machine")
    documents = [each for each in draw_documents(1, seed=4) if each.kind in {"chat", "ID card"}]
    found = read_documents(documents, Closing(), (1.0,), best_readers())
    assert [each.shown.shown for each in found] == [1, 0, 0] * 2
    ceiling = [count for each in found if each.engine == "none" for count in each.items]
    assert sum(each.shown for each in ceiling) >= 0.7 * sum(each.pictures for each in ceiling)
