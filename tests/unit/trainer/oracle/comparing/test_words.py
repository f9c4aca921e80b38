"""The normal form of answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.oracle.comparing import exact, normalise
from trainer.oracle.comparing.words import tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  The SIGN is Red. ", "sign is red"),
        ("THREE", "3"),
        ("ten", "10"),
        ("a", "a"),
        ("A.", "a"),
        ("The", "the"),
        ("answer is A", "answer is a"),
        ("ﬁve", "5"),
        ("twenty-one", "21"),
        ("the red one", "red one"),
        ("Straße", "strasse"),
        ("30-39", "30-39"),
        ("30\u201339", "30-39"),
        ("30 to 39", "30-39"),
        ("C++", "c++"),
        ("don't", "don't"),
        ("don\u2019t", "don't"),
        ("'red'", "red"),
        ("_red_", "red"),
        ("- red", "red"),
        ("1,000", "1000"),
        ("1\u202f000", "1000"),
        ("1'000", "1000"),
        ("12,00,000", "1200000"),
        ("1.234,5", "1234.5"),
        ("3.5", "3.5"),
        ("3,5", "3.5"),
        ("4.0", "4"),
        ("none", "0"),
        ("10\u00b2", "10^2"),
        ("3\u00bd", "3 1/2"),
        ("\u22125 \u00b0C", "-5 c"),
        ("\u0663", "3"),
        ("नीला", "नीला"),
        ("这个 标志", "这个标志"),
        ("\u200bred\ufeff", "red"),
        ("", ""),
        ("**", ""),
    ],
)
def test_normalise(text, expected):
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("नीला", "नाला"),
        ("ป้าย", "ปาย"),
        ("3.5", "3 5"),
        ("10\u00b2", "102"),
        ("-5", "5"),
        ("1,2", "12"),
        ("A", ""),
        ("not red", "red"),
        ("12", "1 2"),
    ],
)
def test_different_answers_keep_different_forms(one, other):
    assert normalise(one) != normalise(other)


@pytest.mark.parametrize(
    "choices",
    [
        ("A", "A-", "A+"),
        ("C", "C++", "C#"),
        ("$5", "\u20ac5", "5"),
        ("+", "-"),
        ("<b>", "<i>"),
        ("4", "4.0"),
        ("The Hague", "Hague"),
        ("\U0001f534", "\U0001f7e2"),
    ],
)
def test_choices_that_are_written_differently_have_different_exact_forms(choices):
    assert len(set(map(exact, choices)) - {""}) == len(choices)


@given(st.text())
def test_normalise_changes_nothing_the_second_time(text):
    once = normalise(text)
    assert normalise(once) == once


@pytest.mark.slow(seconds=1)
@given(st.from_regex(r"-?[0-9]{1,3}([.,:/][0-9]{1,3}){0,3}", fullmatch=True))
def test_a_number_is_one_word(number):
    assert [token.kind for token in tokens(f"it is {number} here") if token.is_content] == [
        "word",
        "word",
        "number",
        "word",
    ]
