"""Answers that rules find in a document, in tokens too."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.langchain_vpp.engines.words.made import words_of
from tests.unit.trainer.sandbox.screens.made import COVERED, INVOICE
from trainer.sandbox.drawing.documents.tasks import DOCUMENT_TASKS
from trainer.sandbox.screens.rules import answer, understands


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is the total?", "$1,497.96"),
        ("When is it due?", "03/25/2026"),
        ("Whom is it from?", "Copper Kettle Labs"),
        ("Who has to pay?", "Ada Moreau"),
        ("What is the IBAN?", "DE89 3704 0044 0532 0130 00"),
        ("What is the reference?", "X34920208"),
        ("Look at the letter. Whom is it from?\nAnswer with a single word or number.", "Copper Kettle Labs"),
        ("What is the phone number?", None),
        ("Is it raining?", None),
    ],
)
def test_an_answer_is_copied_from_the_document(question, expected):
    assert answer(words_of(*INVOICE), question) == expected


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Whom is it from?", "NAME_1"),
        ("Which phone number is given?", "PHONE_1"),
        ("When is it due?", "DATE_2"),
        ("What is the total?", "AMOUNT_3"),
        ("What is the IBAN?", "IBAN_1"),
        ("How many mails are unread?", "NUMBER_2"),
    ],
)
def test_tokens_are_read_and_answered_as_they_were_painted(question, expected):
    assert answer(words_of(*COVERED), question) == expected


@pytest.mark.parametrize(
    ("lines", "question", "expected"),
    [
        (("Your account", "Go back   Save and continue"), "Which button cancels?", "Go back"),
        (("Your account", "Go back   Save and continue"), "Which button saves?", "Save and continue"),
        (("Inbox", "Inbox: 13 unread"), "How many mails are unread?", "13"),
        (("the meeting begins at 17:45. The offer is $4,233.32 in all.",), "When does the meeting begin?", "17:45"),
        (("the meeting begins at 17:45. The offer is $4,233.32 in all.",), "What does the offer cost?", "$4,233.32"),
        (("The offer of NAME_1 costs $4,233.32 in all.",), "What does the offer cost?", "$4,233.32"),
        (("The offer of NAME_1 costs AMOUNT_2 in all.",), "What does the offer cost?", "AMOUNT_2"),
        (("About: Plan for next week",), "What is the subject?", "Plan for next week"),
        (("Newsletter   off",), "Is the newsletter on or off?", "off"),
        (("From: Ada Moreau <ada@post.example>",), "Whom is it from?", "Ada Moreau"),
        (("E-mail: ada@post.example",), "What is the mail address?", "ada@post.example"),
    ],
)  # fmt: skip
def test_screens_are_understood(lines, question, expected):
    assert answer(words_of(*lines), question) == expected


def test_a_label_is_no_answer_to_another_one():
    words = words_of("City   E-mail", "Lyon   ada@post.example", pitch=30)
    assert answer(words, "Which city is given?") == "Lyon"


def test_every_question_of_the_drawn_tasks_is_understood():
    for _, design in DOCUMENT_TASKS.values():
        assert all(map(understands, design(np.random.default_rng(0)).answers))
