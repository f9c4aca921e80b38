"""Signatures: nothing of them stays, and nobody can tell one from another."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from langchain_vpp.engines.words import Words
from langchain_vpp.engines.words.segments import segments_of
from langchain_vpp.engines.words.signatures import signature_places
from tests.unit.langchain_vpp.engines.words.made import FakeReader, words_of

SIZE = (800, 420)
SIGNED = (300, 210, 560, 290)
"""Where a hand has signed: beside the fourth line."""


def signature(seed):
    """Strokes of a pen, as wide as a name that is written by hand."""
    generator = np.random.default_rng(seed)
    x = np.linspace(SIGNED[0] + 8, SIGNED[2] - 8, 160)
    waves = sum(size * np.sin(x / generator.uniform(8, 30) + generator.uniform(0, 6)) for size in (18, 10, 6))
    return [*zip(x.tolist(), ((SIGNED[1] + SIGNED[3]) / 2 + waves).tolist(), strict=True)]


def page(label, seed, *, row=3):
    lines = ["thank you for the letter", "please pay the amount", "with thanks", "", "", ""]
    lines[row] = label
    image, words = Image.new("RGB", SIZE, "white"), words_of(*lines)
    pen = ImageDraw.Draw(image)
    for word in words:
        pen.rectangle(word.box, fill=(90, 90, 90))
    if seed is not None:
        pen.line(signature(seed), fill=(20, 30, 120), width=4)
    return image, words


def protect(label, seed, level=0.5, **place):
    image, words = page(label, seed, **place)
    return np.asarray(
        Words(reader=FakeReader(words, SIZE), recognizers=[]).protect(image, level).crop(SIGNED)
    )


@pytest.mark.parametrize(
    ("label", "row"),
    [
        ("Signature:", 3),
        ("Signed by", 3),
        ("Unterschrift des Mieters", 3),
        ("signature of the tenant", 5),
        ("Kind regards", 2),
    ],
    ids=["beside", "short", "german", "above", "closing"],
)
def test_two_signatures_leave_the_same_picture(label, row):
    assert np.array_equal(protect(label, 1, row=row), protect(label, 2, row=row))


def test_words_of_the_page_stay_where_a_signature_is_covered():
    image, words = page("Signature:", 1)
    result = Words(reader=FakeReader(words, SIZE), recognizers=[]).protect(image, 0.5)
    box = [round(edge) for edge in words[0].box]
    assert np.array_equal(np.asarray(image.crop(box)), np.asarray(result.crop(box)))


def test_a_hand_that_is_read_is_covered_though_its_words_are_harmless():
    words = [*words_of("", "", "", "Signature"), *words_of("may hope", height=40, letter=20, left=300)]
    moved = [
        word._replace(box=(word.box[0], word.box[1] + 170, word.box[2], word.box[3] + 170), line=9)
        if word.text in ("may", "hope")
        else word
        for word in words
    ]
    made = Words(reader=FakeReader(moved, SIZE), recognizers=[])
    values = made.draft(Image.new("RGB", SIZE, "white"), 0.5).values
    assert [*zip(*values, strict=True)] == [("NAME", "NAME"), ("may", "hope")]


@pytest.mark.parametrize(
    "text", ["Sign in", "please read the text about your signature before you go", "Designed"]
)
def test_other_texts_are_no_places_of_signatures(text):
    assert not list(signature_places(segments_of(words_of(text))))
