"""Refusals: they name no choice, whatever they mention."""

from __future__ import annotations

import pytest

from trainer.oracle.comparing import chosen, kind, refused

COLOURS = ("red", "blue", "dark blue", "green")

REFUSALS = (
    "I can't help with people.",
    "I can\u2019t help with identifying the person.",
    "I'm sorry, but I can't assist with that.",
    "I am unable to identify people in images.",
    "Sorry, I cannot tell whether the sign is red.",
    "Unfortunately, I can't determine that.",
    "As an AI, I don't identify people.",
    "I won\u2019t answer that.",
    "I apologize, that is not something I do.",
)


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_no_answer_even_if_it_names_a_choice(text):
    assert refused(text)
    assert kind(text) == kind(text, COLOURS) == "refused"
    assert chosen(f"{text} red", COLOURS) is None


@pytest.mark.parametrize(
    "text",
    [
        "red",
        "It is red, I can't see it well.",
        "sorry",
        "The sign says sorry",
        "I think it is red",
        "no entry",
        "none",
    ],
)
def test_an_answer_is_no_refusal(text):
    assert not refused(text)
    assert kind(text) == "usable"


@pytest.mark.parametrize(
    "text",
    [
        "Es tut mir leid, das kann ich nicht sagen: rot",
        "Je suis désolé, je ne peux pas identifier cette personne.",
        "Lo siento, no puedo ayudar con eso.",
        "Desculpe, não posso ajudar.",
        "Извините, я не могу помочь.",
        "抱歉，我无法判断。",
        "申し訳ありませんが、お答えできません。",
        "죄송하지만 도와드릴 수 없습니다.",
        "<think>Is this a person?</think>I can't help with people.",
    ],
)
def test_refusals_of_other_languages_and_after_thoughts_are_known(text):
    assert refused(text)
    assert kind(text, COLOURS) == "refused"
