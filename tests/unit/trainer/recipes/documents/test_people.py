"""Invented people have items of every kind, and none in common that would be found by chance."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.recipes.documents.people import invent_people


@pytest.mark.parametrize("seed", range(5))
def test_people_differ_and_have_long_items_of_every_kind(seed):
    people = invent_people(np.random.default_rng(seed), 24)
    for kind in people[0].items:
        texts = [each.items[kind] for each in people]
        assert all(sum(letter.isalnum() for letter in text) >= 8 for text in texts), kind
        if kind != "nationality":
            assert len(set(texts)) == len(people), kind
    assert len({each.name.split()[-1] for each in people}) == len(people)


def test_account_numbers_have_valid_check_digits():
    for person in invent_people(np.random.default_rng(0), 24):
        packed = person.items["IBAN"].replace(" ", "")
        digits = "".join(str(int(letter, 36)) for letter in packed[4:] + packed[:4])
        assert int(digits) % 97 == 1
