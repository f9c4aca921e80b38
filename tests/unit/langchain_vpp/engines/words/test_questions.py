"""Questions in other words."""

from __future__ import annotations

import pytest

from langchain_vpp.engines.words.questions import same_question

KNOWN = ("What is the total?", "When is it due?", "What is the first name?", "Which button cancels?")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("what's THE total", 0),
        ("Please tell me the total!", 0),
        ("When's it due", 1),
        ("Could you give me the first name?", 2),
        ("Which buttons cancel?", 3),
        ("What is the last name?", None),
        ("Which button saves?", None),
        ("What is the total of all unpaid invoices of March?", None),
        ("Who is the sender?", None),
        ("", None),
        ("Wie hoch ist die Summe?", None),
    ],
)
def test_a_question_is_found_in_other_words(asked, found):
    assert same_question(asked, KNOWN) == (None if found is None else KNOWN[found])


def test_nothing_is_known_at_first():
    assert same_question("What is it?", ()) is None


def test_questions_that_each_have_a_word_of_their_own_differ_however_long_they_are():
    known = "What is the first name of the person who sent it?"
    assert same_question("What is the last name of the person who sent it?", [known]) is None
    assert same_question("Please: the first name of the person who sent it", [known]) == known
