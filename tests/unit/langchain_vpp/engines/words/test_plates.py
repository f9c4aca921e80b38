"""Plates tell neither the length of what they cover nor where it ends."""

from __future__ import annotations

import pytest

from langchain_vpp.engines.words.plates import pieces_of, plates_of
from langchain_vpp.engines.words.tokens import TokenNumbers
from langchain_vpp.engines.words.verdict import SHOWN, Verdict
from tests.unit.langchain_vpp.engines.words.made import words_of

NAME = Verdict("NAME", strong=True)
NAMES = ("Bo", "Anna", "Martha")


def plates(line, hidden, size=(2000, 400)):
    words = words_of(line)
    verdicts = [NAME if word.text in hidden else SHOWN for word in words]
    found, shown = plates_of(words, verdicts, TokenNumbers(), size)
    return words, found, shown


def test_names_of_many_lengths_get_plates_of_one_width():
    widths = {name: plates(f"from {name}", {name})[1][0].box for name in NAMES}
    assert len({(box[0], box[2]) for box in widths.values()}) == 1


@pytest.mark.parametrize("line", ["from {} today", "from {} today and tomorrow and the day after that"])
def test_what_follows_stands_where_it_would_after_any_name_of_that_class(line):
    seen = []
    for name in NAMES:
        words, _, shown = plates(line.format(name), {name})
        seen.append([(words[each.word].text, words[each.word].box[0] + each.shift) for each in shown])
    assert seen[0] == seen[1] == seen[2]


def test_plates_are_as_wide_as_the_kinds_below_and_not_as_the_text():
    widths = {}
    for name in ("Bo", "Anna Meyer", "Bartholomew Featherstonehaugh-Cholmondeley"):
        _, found, shown = plates(f"from {name} today", set(name.split()))
        widths[name] = (found[0].box[2] - found[0].box[0], [each.shift + 0 for each in shown][:1])
        (follower,) = [each for each in shown if each.word == len(name.split()) + 1]
        assert follower.shift != 0
    assert len({width for width, _ in widths.values()}) == 1


def test_what_does_not_fit_behind_a_plate_is_covered():
    words, found, shown = plates("from Anna today", {"Anna"}, size=(200, 400))
    assert [words[each.word].text for each in shown] == ["from"]
    assert found[0].box[2] <= 200


def test_a_plate_holds_what_it_covers_with_a_margin():
    words, found, _ = plates("from Anna today", {"Anna"})
    left, top, right, bottom = found[0].box
    assert left < words[1].box[0]
    assert top < words[1].box[1]
    assert right > words[1].box[2]
    assert bottom > words[1].box[3]


def test_letters_that_reach_lower_give_no_other_plate():
    words, found, _ = plates("from Anna today", {"Anna"})
    lower = [word._replace(box=(*word.box[:3], word.box[3] + 1)) for word in words]
    verdicts = [NAME if word.text == "Anna" else SHOWN for word in lower]
    again, _ = plates_of(lower, verdicts, TokenNumbers(), (2000, 400))
    size = [(box[2] - box[0], box[3] - box[1]) for (box, _) in (*found, *again)]
    assert size[0][0] == size[1][0]
    assert abs(size[0][1] - size[1][1]) <= 1


def test_words_that_stand_together_share_a_plate_and_a_token():
    _, found, _ = plates("from Anna Meyer today", {"Anna", "Meyer"})
    assert [each.caption for each in found] == ["NAME_1"]


def test_shown_words_are_cut_out_together():
    words, _, shown = plates("thank you for Anna", {"Anna"})
    ((box, shift),) = pieces_of(shown, words)
    assert (box[0], box[2], shift) == (words[0].box[0], words[2].box[2], 0)
