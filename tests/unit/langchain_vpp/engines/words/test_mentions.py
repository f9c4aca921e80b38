"""Mentions of tokens: as models write them, whole and in pieces."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_vpp.engines.words.mentions import Mentions, MentionStream

MENTIONS = Mentions({"NAME_1": "Ada", "NAME_12": "Bo", "IBAN_1": "DE89 3704", "TEXT_1": 'a "b" \\c'})


@pytest.mark.parametrize(
    ("said", "given"),
    [("NAME_1", "Ada"), ("Name_1's", "Ada's"), ("name_1", "Ada"), ("NAME 1", "Ada"), ("NAME-1", "Ada"),
     ("NAME1", "Ada"), ("NAME\\_1", "Ada"), ("**NAME_1**", "**Ada**"), ("[NAME_1]", "[Ada]"), ("<NAME_12>", "<Bo>"),
     ("_NAME_1_", "_Ada_"), ("invoice_NAME_1.pdf", "invoice_Ada.pdf"), ("NAME_1s", "Adas"),
     ("\u8bf7NAME_1\u3002", "\u8bf7Ada\u3002"),
     ("IBAN_1, NAME_12", "DE89 3704, Bo")],
)  # fmt: skip
def test_a_token_is_known_as_models_write_it(said, given):
    assert MENTIONS.restored(said) == given


@pytest.mark.parametrize(
    "said",
    ["NAME_2", "NAME_123", "NAME_01", "name 1", "Name 1", "xNAME_1", "SURNAME1x", "NAME", "NAME_", "NAME__1"],
)
def test_what_is_no_token_stays(said):
    assert MENTIONS.restored(said) == said


@pytest.mark.parametrize(
    "said", ['{"a": "TEXT_1"}', '["x", "TEXT_1"]', 'Here:\n```json\n{"a": "TEXT_1"}\n```\nTEXT_1']
)
def test_json_stays_json(said):
    given = MENTIONS.restored(said)
    body = given.partition("```json\n")[2].partition("\n```")[0] if "```" in given else given
    assert 'a "b" \\c' in json.loads(body).values() if body[0] == "{" else 'a "b" \\c' in json.loads(body)
    assert not given.startswith("Here") or given.endswith('a "b" \\c')


def test_text_that_is_no_json_is_not_escaped():
    assert MENTIONS.restored("[TEXT_1] wrote TEXT_1") == '[a "b" \\c] wrote a "b" \\c'


_PARTS = (*'_12 -N{"x\\', "NAME", "NAME_1", "name_", "TEXT_1", "IBAN_1", "```\n")
_PIECES = st.lists(st.sampled_from(_PARTS), max_size=24)


@settings(max_examples=300, deadline=None)
@given(_PIECES, st.data())
def test_pieces_of_a_text_give_what_the_whole_gives(parts, data):
    text = "".join(parts)
    stream, given = MentionStream(MENTIONS), []
    place = 0
    while place < len(text):
        length = data.draw(st.integers(1, 9))
        given.append(stream.feed(text[place : place + length]))
        place += length
    given.append(stream.flush())
    assert "".join(given) == MENTIONS.restored(text) == stream.given
    assert stream.said == text


def test_nothing_is_held_back_that_can_be_no_token():
    stream = MentionStream(MENTIONS)
    assert stream.feed("Dear N") == "Dear "
    assert stream.feed("o one, n") == "No one, "
    assert stream.feed("ame 1 NAME_1") == "name 1 "
    assert stream.feed(".") == "Ada."
    assert stream.feed("NAME_3") == "NAME_3"
    assert stream.flush() == ""
