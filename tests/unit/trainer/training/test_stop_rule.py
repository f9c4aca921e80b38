"""A run stops after some dozens of answers that can't be used, says which kind they are, and only then."""

from __future__ import annotations

import random

import pytest

from langchain_vpp.errors import OracleError
from trainer.oracle.query import REJECTED, Answer, Query
from trainer.training.stop_rule import FEWEST, StopRule

USELESS = {
    "refused": "I'm sorry, but I can't help with pictures of people.",
    "empty": "",
    "name none of the choices": "mauve",
    "refused by a filter": REJECTED,
}
QUERY = Query(b"", "What colour is the sign?", ("red", "green"))


def note(rule: StopRule, *texts: str, known: bool = False) -> None:
    answers = [Answer(text) for text in texts]
    rule.note([QUERY] * len(texts), answers if known else [None] * len(texts), answers)


@pytest.mark.parametrize(("name", "text"), USELESS.items())
def test_answers_that_are_all_useless_stop_the_run_and_their_kind_is_said(name, text):
    rule = StopRule()
    note(rule, *[text] * (FEWEST - 1))
    with pytest.raises(OracleError, match=f"none of the latest 24 .*24 {name.removesuffix(' by a filter')}"):
        note(rule, text)


def test_kinds_are_counted_apart():
    with pytest.raises(OracleError, match="8 refused, 8 empty, 8 name none of the choices"):
        note(StopRule(), *[text for text in list(USELESS.values())[:3] for _ in range(8)])


@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_chat_model_that_is_often_of_use_is_never_stopped(share, seed):
    rule, generator = StopRule(), random.Random(seed)
    for _ in range(500):
        note(rule, "red" if generator.random() < share else "")


def test_a_chat_model_that_stops_answering_later_is_stopped_too():
    rule = StopRule()
    note(rule, *["red"] * 300)
    with pytest.raises(OracleError, match="1 of the latest 48"):
        note(rule, *[""] * 47)


def test_a_resumed_run_stops_only_after_answers_of_its_own():
    rule = StopRule()
    note(rule, *[""] * 500, known=True)
    note(rule, *[""] * 11)
    with pytest.raises(OracleError, match="none of the latest 48"):
        note(rule, "")


def test_a_resumed_run_goes_on_where_the_cause_was_put_right():
    rule = StopRule()
    note(rule, *[""] * 500, known=True)
    for _ in range(100):
        note(rule, "red", "green", "")


def test_little_is_asked_at_once_until_an_answer_is_of_use():
    rule, sizes = StopRule(), []
    for part in rule.parts([QUERY] * 1000):
        sizes.append(len(part))
        note(rule, *["red"] * len(part))
    assert sizes == [FEWEST, 1000 - FEWEST]
    assert [len(part) for part in rule.parts([QUERY] * 50)] == [50]
    assert list(StopRule().parts([])) == []


def test_lost_answers_say_nothing():
    rule = StopRule()
    rule.note([QUERY] * 100, [None] * 100, [None] * 100)
