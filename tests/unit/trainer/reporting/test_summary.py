"""Sentences about a report: what they say of known figures, and of what was not measured."""

from __future__ import annotations

import pytest

from tests.made_reports import point, reading, report
from trainer.evaluation.results import OperatingPoint, Report, WordsRead
from trainer.reporting.summary import strongest, summaries
from trainer.statistics import ConfidenceInterval


def _with_ours(*attributes, private=(), unknown=()) -> Report:
    """One level of ours; the originals are read without a mistake."""
    read = point("ours", 0.5, 0.2, 0.9).model_copy(
        update={"attributes": (*attributes, *unknown), "private_answers": private}
    )
    perfect = tuple(each.model_copy(update={"accuracy": reading("", 1.0).accuracy}) for each in attributes)
    originals = point("none", 0.0, 1.0, 1.0).model_copy(update={"attributes": (*perfect, *unknown)})
    return report().model_copy(update={"points": (read,), "originals": originals})


def _sentence(measured: Report, level: float = 0.5) -> str:
    (verdict,) = summaries(measured, {"balanced": level})
    return verdict.sentence


def test_known_figures_give_a_known_sentence() -> None:
    measured = _with_ours(
        reading("hair", 0.30, chance=0.20, scaled=0.125), reading("skin", 0.60, chance=0.40, scaled=0.333)
    )
    assert _sentence(measured) == (
        "A fresh attacker still reads the 2 private attributes right in 45% of cases (30% by guessing, 100% from "
        "originals); the chat model still answers 90% of the task questions right (27% by guessing, 100% on "
        "originals); the worst hidden attribute is skin, which the fresh classifier reads right in 60% [55, 65] of "
        "cases (40% by guessing)."
    )


def test_a_private_text_that_is_still_read_is_in_the_sentence() -> None:
    measured = _with_ours(reading("hair", 0.21, chance=0.20, scaled=0.01))
    shares = {"name": 0.1, "id number": 0.3}
    words = tuple(
        WordsRead(
            subject=subject,
            exact=ConfidenceInterval(value=share, low=share - 0.05, high=share + 0.05),
            exact_floor=0.0,
            distance=ConfidenceInterval(value=0.5, low=0.4, high=0.6),
            distance_floor=0.9,
            count=200,
        )
        for subject, share in shares.items()
    )
    assert "text recogniser" not in _sentence(measured)
    read = measured.points[0].model_copy(update={"words": words})
    sentence = _sentence(measured.model_copy(update={"points": (read,)}))
    assert "a text recogniser reads id number whole on 30% [25, 35] of the pictures" in sentence


def test_the_worst_attribute_is_the_nearest_to_originals_not_the_most_accurate() -> None:
    measured = _with_ours(
        reading("glasses", 0.90, chance=0.88, scaled=0.17), reading("hair", 0.5, chance=0.1, scaled=0.44)
    )
    assert "worst hidden attribute is hair" in _sentence(measured)


def test_the_strongest_of_several_attackers_counts_for_each_attribute() -> None:
    measured = _with_ours(
        reading("hair", 0.30, scaled=0.05),
        reading("skin", 0.80, scaled=0.7),
        reading("hair", 0.60, scaled=0.4, reader="residual network"),
        reading("skin", 0.40, scaled=0.1, reader="residual network"),
    )
    assert "strongest of 2 attackers still reads the 2 private attributes right in 70%" in _sentence(measured)


def test_a_chat_model_that_reads_more_than_the_attackers_is_named() -> None:
    asked = (reading("hair", 0.95, scaled=0.9, reader="chat model"),)
    assert "worst hidden attribute is hair, which the chat model reads right in 95%" in _sentence(
        _with_ours(reading("hair", 0.4, scaled=0.2), private=asked)
    )


def test_what_is_within_chance_is_not_called_read() -> None:
    text = _sentence(_with_ours(reading("hair", 0.30, chance=0.27, scaled=0.04)))
    assert "no attribute is read measurably better than by guessing; closest to it is hair" in text
    assert "worst" not in text


def test_attributes_unreadable_on_originals_are_said_to_be_unknown_and_left_out_of_the_mean() -> None:
    text = _sentence(
        _with_ours(reading("hair", 0.4, scaled=0.2), unknown=(reading("mood", 0.99, scaled=None),))
    )
    assert "reads the private attribute hair right in 40% of cases" in text
    assert text.endswith("nothing is known about mood, hardly readable even on originals.")


def test_without_a_chat_model_the_sentence_says_so() -> None:
    text = summaries(report(asked=False), {"low": 0.0})[0].sentence
    assert "what the chat model still answers was not measured, as the evaluation had no chat model" in text


def test_originals_that_were_not_sent_are_not_quoted() -> None:
    measured = _with_ours(reading("hair", 0.4))
    originals = measured.originals.model_copy(update={"tasks": (), "utility": None})
    assert "(27% by guessing, originals were not sent to it)" in _sentence(
        measured.model_copy(update={"originals": originals})
    )


def test_nothing_is_claimed_for_a_level_that_was_not_measured() -> None:
    (verdict,) = summaries(report(), {"balanced": 0.6})
    assert verdict.point is None
    assert verdict.sentence == (
        "This level (0.6) was not measured, so nothing is claimed for it; the nearest measured ones are "
        "0 (leak 0.50) and 1 (leak 0.25)."
    )


def test_nothing_is_claimed_where_no_level_was_measured() -> None:
    measured = report().model_copy(update={"points": (point("blur", 0.5, 0.5, 0.5),)})
    assert summaries(measured, {"high": 1.0})[0].sentence.endswith("so nothing is claimed for it.")
    assert summaries(measured, {}) == ()


def test_presets_come_by_rising_level_and_find_their_points() -> None:
    found = summaries(report(), {"high": 1.0, "low": 0.1 + 0.2 - 0.3})
    assert [(each.name, each.point.level) for each in found] == [("low", 0.0), ("high", 1.0)]


def test_without_presets_every_level_is_judged() -> None:
    assert [each.name for each in summaries(report(), {})] == ["level 0", "level 1"]


def test_a_point_without_readable_attributes_claims_nothing_about_attackers() -> None:
    blind = OperatingPoint(engine="ours", level=0.5, leak=None, utility=None, attributes=())
    assert _sentence(report().model_copy(update={"points": (blind,)})).startswith(
        "What a fresh attacker reads was not measured;"
    )


@pytest.mark.parametrize("order", [1, -1])
def test_strongest_does_not_depend_on_the_order(order) -> None:
    readings = [reading("hair", 0.3, scaled=0.1), reading("hair", 0.6, scaled=0.5, reader="other")]
    assert strongest(readings[::order])["hair"].reader == "other"
