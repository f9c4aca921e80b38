"""Tokens: the same value is always named alike."""

from __future__ import annotations

from langchain_vpp.engines.words.tokens import TokenNumbers


def test_values_that_differ_in_case_spaces_and_punctuation_share_a_token():
    tokens = TokenNumbers()
    assert tokens.token("IBAN", "DE89 3704") == tokens.token("IBAN", "de89-3704.") == "IBAN_1"


def test_kinds_are_numbered_apart():
    tokens = TokenNumbers()
    made = [tokens.token("NAME", "Ada"), tokens.token("NAME", "Bo"), tokens.token("IBAN", "1")]
    assert made == ["NAME_1", "NAME_2", "IBAN_1"]


def test_values_without_letters_and_digits_are_told_apart():
    tokens = TokenNumbers()
    assert tokens.token("TEXT", "!") != tokens.token("TEXT", "?")
