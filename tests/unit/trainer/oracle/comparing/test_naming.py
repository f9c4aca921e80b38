"""The choice that an answer names: a table of answers in many styles and languages, and what holds for every answer."""

from __future__ import annotations

import random
import re
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.unit.trainer.oracle.comparing.answer_styles import (
    ANSWERS,
    CHOICES,
    COLOURS,
    DECORATIONS,
    DIGITS,
    LANGUAGES,
    LETTERS,
)
from trainer.oracle.comparing import choice_keys, chosen, kind, matching, normalise

SAMPLE = 1500
"""Decorated choices that the suite tries; ``None`` tries all 10,000 of them, in four seconds."""


def named(text, choices):
    index = chosen(text, choices)
    return None if index is None else choices[index]


@pytest.mark.parametrize(("text", "choices", "choice"), ANSWERS)
def test_an_answer_names_one_choice_or_none(text, choices, choice):
    assert named(text, choices) == choice
    assert named(text, choices[::-1]) == choice  # in whichever order they are offered
    assert (kind(text, choices) == "usable") == (choice is not None)


@pytest.mark.parametrize("language", LANGUAGES)
def test_choices_are_found_and_taken_back_in_many_languages(language):
    first, second, *groups = LANGUAGES[language]
    for answers, expected in zip(groups, (first, None, None, second), strict=True):
        assert {text: named(text, (first, second)) for text in answers} == dict.fromkeys(answers, expected)


# A minus alone is punctuation to a reader, a dash after a sign an arrow, dollars around a price a formula.
MISREAD = {
    ("A-", "<{}>"),
    ("O-", "<{}>"),
    ("not visible", "{} \u2014 clearly visible"),
    ("$5", "${}$"),
    ("5", "${}$"),
    ("5", "$\\text{{{}}}$"),
}


def test_a_choice_in_any_harmless_decoration_names_itself():
    cases = [
        (choices, choice, decoration)
        for choices in CHOICES
        for choice in choices
        for decoration in DECORATIONS
        if (choice, decoration) not in MISREAD and choice not in {"+", "-", "\u00d7"}
    ]
    cases = random.Random(0).sample(cases, SAMPLE or len(cases))
    wrong = {
        (decoration.format(choice), choices): named(decoration.format(choice), choices)
        for choices, choice, decoration in cases
        if named(decoration.format(choice), choices) != choice
    }
    assert wrong == {}


@pytest.mark.parametrize("choices", CHOICES)
def test_every_choice_names_itself_as_it_is_written(choices):
    for choice in choices:
        for text in (choice, f" {choice}\n", choice.upper(), f"**{choice}**"):
            assert named(text, choices) == choice
    assert len(set(choice_keys(choices))) == len(choices)


WRONG = (
    "purple",
    "14",
    "3.5",
    "1,000",
    "none of these",
    "unknown",
    "it",
    "The",
    "a",
    "\u7d2b\u8272",
    "\u0e2a\u0e35\u0e21\u0e48\u0e27\u0e07",
    "E",
    "AB",
    "2-3",
    "",
)


@pytest.mark.parametrize("choices", [COLOURS, ("B", "C", "D"), DIGITS[1:]])
def test_a_wrong_answer_never_becomes_a_choice(choices):
    answers = [decoration.format(wrong) for wrong in WRONG for decoration in DECORATIONS]
    assert {answer: named(answer, choices) for answer in answers} == dict.fromkeys(answers)


@given(
    st.text(alphabet=" \t\n.,:;!?*_`'\"()[]{}-\u2013\u2014\u2026\u200b\ufeff#|~", max_size=12),
    st.sampled_from(CHOICES),
)
def test_an_answer_without_a_word_names_nothing(text, choices):
    assume(not any(choice in text for choice in choices))  # some choices are signs
    assert chosen(text, choices) is None
    assert kind(text) in {"empty", "usable"}


@given(
    st.lists(st.sampled_from(LETTERS), min_size=2, max_size=4, unique=True),
    st.sampled_from((" or ", ", ", "/", " and ", "; ", "\n", " | ", ", maybe ")),
)
def test_several_named_choices_name_none(several, between):
    assert chosen(between.join(several), LETTERS) is None


@given(st.text(max_size=60), st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=5, unique=True))
def test_any_text_and_any_choices_can_be_compared(text, choices):
    index = chosen(text, choices)
    assert index is None or 0 <= index < len(choices)
    if not normalise(text) and text.strip() not in {choice.strip() for choice in choices}:
        assert index is None or normalise(choices[index]) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("...", "empty"),
        ("**", "empty"),
        ("<think>red or green", "empty"),
        ("<think>red</think>", "empty"),
        ("mauve", "unfit"),
        ("red or blue", "unfit"),
        ("neither", "unfit"),
        ("Red", "usable"),
        ("<think>hm</think>I can't help with people.", "refused"),
        ("I can't help with people.\nAnswer: red", "usable"),
        ("I can't help with people.\nAnswer: none", "refused"),
    ],
)
def test_answers_that_fit_no_choice_are_told_from_empty_ones(text, expected):
    assert kind(text, ("red", "blue", "dark blue", "green")) == expected


def test_a_choice_that_reads_like_a_refusal_can_be_chosen():
    assert chosen("I can not know", ("yes", "I can not know")) == 1


def test_matching_wants_the_whole_text():
    assert matching("The Hague.", ("Hague", "Delft")) == 0
    assert matching("in The Hague", ("Hague", "Delft")) is None
    assert matching("2", ("two", "four")) == 0
    assert matching("", ("two", "four")) is None


UNITS = (
    "red ",
    "not red, ",
    "A) ",
    "1,",
    "20 - 29 ",
    "<b>",
    "</think>",
    "**",
    "\\boxed{",
    "\u7ea2",
    "\u4e0d",
    "red? ",
    "<a b",
    "answer: ",
)


@pytest.mark.slow(seconds=0.07)
@pytest.mark.parametrize("unit", UNITS)
def test_time_grows_with_the_length_of_an_answer_and_no_faster(unit):
    def seconds(count):
        started = time.process_time()
        chosen(unit * count, (*COLOURS, "A", "1"))
        return time.process_time() - started

    short = min(seconds(150) for _ in range(3))
    assert min(seconds(600) for _ in range(3)) < 9 * short + 0.02


def test_a_decoration_holds_its_place_once():
    assert all(len(re.findall(r"(?<!\{)\{\}(?!\})|\{\{\{\}\}\}", each)) == 1 for each in DECORATIONS)
