"""Hidden values in text: each spelling is found, and nothing else."""

from __future__ import annotations

import time

import pytest

from langchain_vpp.engines.words.hidden import HiddenValues

VALUES = (
    ("NAME", "Ada Lovelace"), ("NAME", "May"), ("NAME", "\u7530\u4e2d"), ("NUMBER", "1"), ("NUMBER", "240"),
    ("NUMBER", "1,234"), ("IBAN", "DE89 3704 0044 0532 0130 00"), ("PHONE", "+49 (30) 123-456"),
    ("MAIL", "ada.l@example.org"), ("NAME", "Meyer"),
)  # fmt: skip


@pytest.fixture(scope="module")
def hidden():
    values = HiddenValues()
    for kind, value in VALUES:
        values.add(kind, value)
    return values


@pytest.mark.parametrize(
    "text",
    ["Ada Lovelace", "ada  LOVELACE", "Ada-Lovelace", "Ada\nLovelace", "Ada%20Lovelace", "AdaLovelace", "ada_lovelace",
     "DE89370400440532013000", "de89-3704-0044-0532-0130-00", "1234", "1.234", "1 234", "+4930123456", "49 30 123 456",
     "ADA.L@EXAMPLE.ORG", "Meyer", "meyer", "May", "MAY", "240"],
)  # fmt: skip
def test_a_value_is_found_in_each_spelling(hidden, text):
    sentence = f"so: {text}, he said"
    (spot,) = hidden.find(sentence)
    assert sentence[spot.start : spot.end].strip("+(") == text.strip("+(")


@pytest.mark.parametrize(
    "text",
    ["may I?", "page 1 of 2", "2401", "2.4.0", "mayor", "Meyerhof", "Dear Ada, they are lovelaces", "12345", "xmay",
     "this is ada and this is her work at lovelace"],
)  # fmt: skip
def test_what_only_looks_like_a_value_stays(hidden, text):
    assert not [spot for spot in hidden.find(text) if spot.value != "Ada"]


@pytest.mark.parametrize(
    ("text", "found"),
    [("Lovelace's notes", "Lovelace"), ("for LOVELACE", "Lovelace"), ("the Meyers came", "Meyer"),
     ("\u7530\u4e2d\u3055\u3093", "\u7530\u4e2d"), ("x49 30 123 456y", "+49 (30) 123-456"),
     ('["Ada","Lovelace"]', "Ada")],
)  # fmt: skip
def test_parts_of_names_and_words_that_grew_are_found(hidden, text, found):
    assert next(hidden.find(text)).value == found


def test_the_longest_value_at_a_place_wins():
    values = HiddenValues()
    values.add("NAME", "Anna")
    values.add("NAME", "Anna Meyer")
    assert [spot.value for spot in values.find("Anna Meyer and Anna")] == ["Anna Meyer", "Anna"]


def test_a_title_or_an_ordinary_word_of_a_name_is_not_looked_for_alone():
    values = HiddenValues()
    values.add("NAME", "Mrs Anna Summer")
    assert [spot.value for spot in values.find("Mrs Smith met Anna in Summer")] == ["Anna"]


def test_fields_of_json_are_never_joined():
    values = HiddenValues()
    values.add("TEXT", "Anna Meyer")
    assert not list(values.find('{"Anna": "Meyer"}'))


def test_finding_takes_linear_time():
    values = HiddenValues()
    for number in range(2000):
        values.add("NUMBER", f"{number:05d} {number:05d}")
    seconds = []
    for length in (2_000, 8_000):
        started = time.process_time()
        list(values.find("0123 4567 a b " * (length // 14)))
        seconds.append(time.process_time() - started)
    assert seconds[1] < 12 * max(seconds[0], 0.01)
