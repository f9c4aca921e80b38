"""Private text of a known form."""

from __future__ import annotations

import pytest

from langchain_vpp.engines.words.recognizers import ChecksumRecognizer, FormRecognizer, PhoneRecognizer


def found(recognizer, text):
    return {(each.kind, text[each.start : each.end]) for each in recognizer.find(text)}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("anna.meyer@mail.example", "EMAIL"),
        ("https://example.com/a?token=b", "URL"),
        ("db.internal-host.io", "URL"),
        ("xoxb-ltXqfGNneQbk0yFmAjh", "KEY"),
        ("AKIAW5MBFLFOCIZF13X9", "KEY"),
        ("SHA256:zKDTNUAQ7Q+q8L92q3QT/YuT", "KEY"),
        ("API_KEY=abcdef", "KEY"),
        ("@linus", "HANDLE"),
        ("#launch-plan", "CHANNEL"),
        ("/home/linus/notes", "PATH"),
        ("12 Cherry Lane", "ADDRESS"),
        ("Hauptstrasse 14", "ADDRESS"),
        ("10115 Berlin", "ADDRESS"),
    ],
)
def test_forms_are_found(text, kind):
    assert (kind, text) in found(FormRecognizer(), text)


@pytest.mark.parametrize(
    "text", ["3/25/2026", "at 12:30 on the way", "and/or", "5 minutes on the way", "in 2026 We met"]
)
def test_ordinary_text_has_no_form(text):
    assert found(FormRecognizer(), text) == set()


@pytest.mark.slow(seconds=6)
def test_numbers_count_only_with_their_checksum():
    recognizer = ChecksumRecognizer()
    assert ("IBAN", "DE89370400440532013000") in found(recognizer, "to DE89370400440532013000")
    assert not found(recognizer, "to DE88370400440532013000")
    assert ("CARD", "4111111111111111") in found(recognizer, "4111111111111111")
    assert not found(recognizer, "4111111111111112")
    assert not found(recognizer, "no digits at all")


def test_telephone_numbers_of_many_countries_are_found_and_dates_are_none():
    recognizer = PhoneRecognizer()
    for number in ("+1 (646) 555-0125", "+49 30 901820", "020 7946 0018"):
        assert any(kind == "PHONE" for kind, _ in found(recognizer, f"call {number} now"))
    assert found(recognizer, "on 12.03.2026 we met") == set()
