"""Where plates and the words beside them go: no place tells how long a private text is."""

from __future__ import annotations

import time

import pytest

from langchain_vpp.engines.words.layout import Item, left_edges

PLATE = 80.0


def item(left, right, *, plate=False, top=0.0):
    return Item((left, top, right, top + 20), PLATE if plate else 0.0, 20.0)


@pytest.mark.parametrize("length", [20, 60, 100, 160, 240])
def test_what_follows_closely_stands_at_one_distance_whatever_the_length(length):
    end = 100 + length
    items = [item(40, 90), item(100, end, plate=True), item(end + 10, end + 60), item(end + 70, end + 110)]
    assert left_edges(items, 1000) == [40, 96, 182, 242]


def test_two_plates_in_a_row_tell_neither_length():
    seen = set()
    for first, second in ((30, 90), (150, 20)):
        x = 100 + first
        items = [item(100, x, plate=True), item(x + 10, x + 40), item(x + 50, x + 50 + second, plate=True)]
        seen.add(tuple(left_edges(items, 1000)))
    assert len(seen) == 1


def test_what_stands_apart_stays_unless_a_plate_needs_its_place():
    assert left_edges([item(100, 120, plate=True), item(400, 450)], 1000)[1] == 400
    assert left_edges([item(100, 120, plate=True), item(150, 200)], 1000)[1] == 80 + PLATE + 6


def test_rows_above_and_below_stay_where_they_are():
    items = [
        item(40, 90, top=0),
        item(40, 200, plate=True, top=40),
        item(210, 240, top=40),
        item(40, 90, top=80),
    ]
    assert left_edges(items, 1000) == [40, 40, 126, 40]


def test_a_word_that_no_longer_fits_is_not_shown():
    items = [item(100, 120, plate=True), item(130, 190), item(200, 230)]
    assert left_edges(items, 220) == [80, None, None]


def test_a_thousand_words_take_less_than_a_second():
    items = [
        item(x * 60, x * 60 + 50, plate=(x + y) % 5 == 0, top=y * 25) for y in range(40) for x in range(25)
    ]
    begun = time.process_time()
    left_edges(items, 2000)
    assert time.process_time() - begun < 1
