"""Folding: spellings of one value come out alike."""

from __future__ import annotations

import pytest

from langchain_vpp.engines.words.folding import folded, plain, trimmed


@pytest.mark.parametrize(
    "spelling",
    ["José  Núñez", "jose-nunez", "JOSE_NUNEZ", "Jos\\u00e9 N\\u00fa\\u00f1ez", "Jos%C3%A9%20N%C3%BA%C3%B1ez",
     "Jos&eacute;&nbsp;N&uacute;&ntilde;ez", "Jose\u0301\\nNu\u0301n\u0303ez"],
)  # fmt: skip
def test_spellings_fold_to_the_same_letters(spelling):
    assert folded(spelling).text == "josenunez"


def test_each_letter_knows_where_it_stands():
    text = "a%C3%A9 \u00df"
    found = folded(text)
    assert found.text == "aess"
    assert [text[start:end] for start, end in zip(found.starts, found.ends, strict=True)] == [
        "a", "%C3%A9", "\u00df", "\u00df",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "expected"),
    [("Ada,", "Ada"), ('"Ada Lovelace".', "Ada Lovelace"), ("(555) 123-4567", "(555) 123-4567"), ("(Ada)", "Ada"),
     ("[Ada", "Ada"), ("Ada)", "Ada"), ("$1,234.50", "$1,234.50"), ("?!", "?!"), (" Ada ", "Ada")],
)  # fmt: skip
def test_what_only_stands_beside_a_value_is_taken_off(value, expected):
    assert trimmed(value) == expected


def test_values_without_letters_and_digits_are_told_apart():
    assert plain("!") != plain("?")
