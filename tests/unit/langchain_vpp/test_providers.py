"""What providers keep of a picture, and what they charge: the examples of their own pages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_vpp.providers import RULES, fit_size, within

TILES, PATCHES, SONNET, OPUS, GEMINI, MISTRAL = RULES
SIDES = st.integers(1, 12_000)


@pytest.mark.parametrize(
    ("rule", "size", "kept", "tokens"),
    [
        (TILES, (1024, 1024), (768, 768), 765),
        (TILES, (2048, 4096), (768, 1536), 1105),
        (TILES, (640, 480), (640, 480), 425),
        (PATCHES, (1024, 1024), (1024, 1024), 1024),
        (SONNET, (1000, 1000), (1000, 1000), 1296),
        (OPUS, (1000, 1000), (1000, 1000), 1296),
        (GEMINI, (384, 384), (384, 384), 258),
        (GEMINI, (960, 540), (960, 540), 6 * 258),
        (MISTRAL, (1540, 1540), (1540, 1540), 55 * 55 + 55),
    ],
)
def test_the_published_examples_hold(rule, size, kept, tokens):
    assert (rule.kept(*size), rule.tokens(*size)) == (kept, tokens)


def test_a_large_picture_costs_no_more_than_the_published_most():
    for size in ((4000, 3000), (9000, 300), (20_000, 20_000), (1800, 2400)):
        assert 1400 < PATCHES.tokens(*size) <= 1536 or size == (9000, 300)
        assert SONNET.tokens(*size) <= 1568
        assert OPUS.tokens(*size) <= 4784
        assert max(SONNET.kept(*size)) <= 1568
        assert max(OPUS.kept(*size)) <= 2576
        assert max(TILES.kept(*size)) <= 2048
        assert min(TILES.kept(*size)) <= 768


@given(SIDES, SIDES)
def test_no_provider_makes_a_picture_that_fits_smaller(width, height):
    fit = fit_size(width, height)
    for rule in RULES:
        kept = rule.kept(*fit)
        assert kept[0] >= fit[0] - 1
        assert kept[1] >= fit[1] - 1


@given(SIDES, SIDES)
def test_fitting_never_enlarges_keeps_the_shape_and_saves_nothing_that_costs(width, height):
    fit = fit_size(width, height)
    assert fit[0] <= width
    assert fit[1] <= height
    assert min(fit) >= 1
    if min(fit) > 1:
        assert abs(fit[0] * height - fit[1] * width) <= 2 * max(width, height)


@given(SIDES, SIDES)
def test_fitting_twice_changes_nothing(width, height):
    once = fit_size(width, height)
    again = fit_size(*once)
    assert max(once[0] - again[0], once[1] - again[1]) <= 1


def test_a_box_bounds_both_sides_and_never_enlarges():
    assert within(4000, 3000, (800, 800)) == (800, 600)
    assert within(3000, 4000, (800, 100)) == (75, 100)
    assert within(30, 40, (800, 800)) == (30, 40)
    assert within(10_000, 1, (100, 100)) == (100, 1)
