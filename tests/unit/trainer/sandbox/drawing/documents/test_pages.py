"""Drawn documents: people, pages and the boxes of private text."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from langchain_vpp.errors import DataError
from trainer.sandbox.drawing.documents import browser, pages
from trainer.sandbox.drawing.documents.browser import PlacedWord, PrivateSpan, RenderedPage
from trainer.sandbox.drawing.documents.pages import HELD_BACK, TUNED, _turned, design_page, draw_document
from trainer.sandbox.drawing.documents.people import invent_people


def test_the_same_seed_invents_the_same_people_and_another_others():
    one, same, other = (invent_people(np.random.default_rng(seed), 20) for seed in (1, 1, 2))
    assert one == same != other


def test_people_have_many_naming_cultures_and_account_numbers_with_valid_check_digits():
    people = invent_people(np.random.default_rng(0), 200)
    assert len({person.last for person in people}) > 80
    for person in people:
        plain = person.iban.replace(" ", "")
        assert int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1


@pytest.mark.slow(seconds=0.01)
@pytest.mark.parametrize("layout", [*TUNED, *HELD_BACK])
def test_every_layout_marks_private_text_of_several_people(layout):
    page = design_page(layout, np.random.default_rng(3))
    assert page.count("data-private=") >= 3
    assert (
        page == design_page(layout, np.random.default_rng(3)) != design_page(layout, np.random.default_rng(4))
    )


def test_layouts_for_tuning_and_for_measuring_are_apart():
    assert len(HELD_BACK) == 10
    assert not set(TUNED) & set(HELD_BACK)


def test_a_box_turns_with_its_picture():
    assert _turned((0, 0, 10, 20), 90, (100, 100)) == pytest.approx((0, 90, 20, 100))
    assert _turned((10, 20, 30, 40), 0, (100, 100)) == pytest.approx((10, 20, 30, 40))


def test_spans_and_words_below_the_window_are_left_out(monkeypatch):
    shown, cut = ((10, 10, 50, 20), (10, 90, 50, 110))
    spans = [
        PrivateSpan("private_person", "Ada", (shown,)),
        PrivateSpan("private_person", "Bea", (shown, cut)),
    ]
    words = [PlacedWord("from", shown), PlacedWord("to", cut)]
    rendered = RenderedPage(Image.new("RGB", (100, 100)), tuple(spans), tuple(words))
    monkeypatch.setattr(pages, "find_browser", lambda: "browser")
    monkeypatch.setattr(pages, "render", lambda *_, **__: rendered)
    document = draw_document("chat", seed=1)
    assert (document.spans, document.words) == (tuple(spans[:1]), tuple(words[:1]))
    moved = draw_document("chat", seed=1, taken="photo").words
    assert [each.text for each in moved] == ["from"]
    assert moved[0].box != shown


def test_a_missing_browser_is_one_error(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(DataError, match="Chromium is not installed"):
        browser.find_browser()


@pytest.mark.slow(seconds=6)
@pytest.mark.skipif(not any(map(shutil.which, browser.BROWSERS)), reason="needs Chromium")
def test_boxes_lie_on_the_text():
    document = draw_document("member_card", seed=1)
    kinds = {span.kind for span in document.spans}
    assert {"private_person", "private_id", "private_date"} <= kinds
    pixels = np.asarray(document.picture.convert("L"), dtype=float)
    hidden = {word for span in document.spans for word in span.text.split()}
    assert len(document.words) > 10
    assert not hidden & {word.text for word in document.words}
    for boxes in [
        *(span.boxes for span in document.spans),
        [word.box for word in document.words if len(word.text) > 2],
    ]:
        for left, top, right, bottom in boxes:
            assert pixels[int(top) : int(bottom) + 1, int(left) : int(right) + 1].std() > 10
