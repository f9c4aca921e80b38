"""From answers to scores."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.ledger import Answer
from trainer.scoring import accuracy, chosen, distribution, normalise

COLOURS = ("red", "blue", "dark blue", "green")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  The SIGN is Red. ", "sign is red"),
        ("THREE", "3"),
        ("ten", "10"),
        ("a", ""),
        ("ﬁve", "5"),
        ("Straße", "strasse"),
        ("30-39", "30-39"),
        ("C++", "c++"),
        ("don't", "don't"),
        ("", ""),
    ],
)
def test_normalise(text, expected):
    assert normalise(text) == expected


@given(st.text())
def test_normalise_changes_nothing_the_second_time(text):
    once = normalise(text)
    # Number words and articles may come together anew only through characters that NFKC makes; none do.
    assert normalise(once) == once


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("red", 0),
        ("It is Red!", 0),
        ("dark blue", 2),
        ("a dark blue sign", 2),
        ("blue", 1),
        ("red or green", None),
        ("reddish", None),
        ("", None),
        ("I can't help with that.", None),
    ],
)
def test_chosen_is_the_one_choice_that_an_answer_names(text, index):
    assert chosen(text, COLOURS) == index


def test_chosen_reads_number_words():
    assert chosen("There are three.", ("1", "2", "3")) == 2


def test_accuracy_against_the_reference():
    assert accuracy("The Red", "red") == 1
    assert accuracy("It is red", "red") == 0  # without choices only the whole answer counts
    assert accuracy("It is red", "red", choices=COLOURS) == 1
    assert accuracy("green", "red", choices=COLOURS) == 0
    assert accuracy("red green", "red", choices=COLOURS) == 0


@pytest.mark.parametrize(("agreeing", "score"), [(0, 0), (1, 1 / 3), (2, 2 / 3), (3, 1), (10, 1)])
def test_soft_accuracy_counts_agreeing_annotators(agreeing, score):
    answers = ["Red"] * agreeing + ["blue"] * (10 - agreeing)
    assert accuracy("red.", "blue", answers=answers) == pytest.approx(score)


def test_a_distribution_adds_the_tokens_that_name_an_option():
    answer = Answer(
        "red", {"red": math.log(0.5), "Red": math.log(0.2), "blue": math.log(0.2), "x": math.log(0.1)}
    )
    assert distribution(answer, COLOURS) == pytest.approx([0.7 / 0.9, 0.2 / 0.9, 0, 0])


def test_log_probabilities_that_name_no_option_leave_the_text():
    answer = Answer("It is red", {"It": math.log(0.99), "red": math.log(0.01)})
    assert distribution(answer, COLOURS) == pytest.approx([0.9625, 0.0125, 0.0125, 0.0125])


@pytest.mark.parametrize("text", ["", "no idea", "red or blue or green"])
def test_an_answer_that_fits_no_option_says_nothing(text):
    assert distribution(Answer(text), COLOURS) == [0.25] * 4


tokens = st.dictionaries(
    st.sampled_from(["red", "blue", "Green", "dark", "?", ""]), st.floats(-1e4, 0.01) | st.just(-math.inf)
)


@given(st.text(), st.none() | tokens, st.lists(st.sampled_from(COLOURS), min_size=1, unique=True))
def test_every_answer_is_a_distribution(text, logprobs, options):
    mass = distribution(Answer(text, logprobs), options)
    assert len(mass) == len(options)
    assert min(mass) >= 0
    assert sum(mass) == pytest.approx(1)
