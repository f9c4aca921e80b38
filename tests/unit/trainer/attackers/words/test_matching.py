"""What counts as read, and what is there by chance."""

from __future__ import annotations

import pytest

from trainer.attackers.words.matching import Row, is_kept, is_leaked
from trainer.attackers.words.readers import Seen

BOX = (100.0, 50.0, 260.0, 70.0)


def seen(text, left=100.0, top=50.0):
    return Seen(text, (left, top, left + 10 * len(text), top + 20))


def leaks(text, *words, kind="private_person", others=()):
    return is_leaked(text, kind, (Row(words, BOX),), (Row(others, BOX),) if others else ())


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Uchenna Olatunji", ("Uchenna", "Olatunji")),
        ("Uchenna Olatunji", ("Olatunji",)),
        ("Uchenna Olatunji", ("0latunji",)),
        ("Uchenna Olatunji", ("DearUchenna",)),
        ("Will Green", ("Will",)),
        ("Bo Li", ("Bo", "Li")),
        ("DE89 3704 0044 0532 0130 00", ("DE89", "3704", "0044", "0532", "01")),
    ],
)
def test_a_text_leaks_if_most_of_it_or_a_word_that_tells_it_is_read(text, read):
    assert leaks(text, *(seen(word, 100 + 80 * place) for place, word in enumerate(read)))


@pytest.mark.parametrize(
    ("text", "kind", "read"),
    [
        ("Uchenna Olatunji", "private_person", ("NAME_1",)),
        ("Maple Street Insurance", "private_company", ("Insurance",)),
        ("Profile of Aiden Schmidt", "private_person", ("Profile", "of")),
        ("Bo Li", "private_person", ("Book", "Life")),
        ("DE89 3704 0044 0532 0130 00", "private_iban", ("DE89",)),
    ],
)
def test_a_common_word_or_a_token_tells_nothing(text, kind, read):
    assert not leaks(text, *(seen(word, 100 + 80 * place) for place, word in enumerate(read)), kind=kind)


def test_text_elsewhere_is_no_leak_and_text_that_has_moved_on_its_row_is():
    assert not leaks("Olatunji", seen("Olatunji", top=200))
    assert leaks("Olatunji", seen("Olatunji", left=400))
    assert leaks("Olatunji", seen("Olatunji", left=10))


def test_what_the_original_says_beside_it_is_no_leak():
    beside = seen("greenish", left=300)
    assert leaks("Will Green", beside)
    assert not leaks("Will Green", beside, others=(beside,))


def test_a_word_is_kept_where_it_stood_or_where_it_moved():
    word = seen("month")
    assert is_kept(word, [seen("month")], moved=False)
    assert is_kept(word, [seen("lastmonth", left=60)], moved=False)
    assert not is_kept(word, [seen("month", left=300)], moved=False)
    assert is_kept(word, [seen("month", left=300)], moved=True)
    assert not is_kept(word, [seen("month", top=120)], moved=True)
    assert not is_kept(word, [seen("weekly")], moved=True)
