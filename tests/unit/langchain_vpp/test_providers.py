"""What providers keep of a picture, and what they charge for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_vpp.providers import FAMILIES, find_model, fit_size, within
from tests.unit.image_tokens import GOLDEN, SIZES

TILES, PATCHES, ORIGINAL, STANDARD, HIGH, GEMINI, MISTRAL = (
    find_model(name).family
    for name in (
        "gpt-4o",
        "gpt-4.1-mini",
        "gpt-5.5",
        "claude-sonnet-4-6",
        "claude-opus-4-8",
        "gemini-2.5-flash",
        "mistral-small",
    )
)
SIDES = st.integers(1, 12_000)


@pytest.mark.parametrize("model", GOLDEN)
def test_image_tokens_are_those_that_were_worked_out_by_hand(model):
    family = find_model(model).family
    assert tuple(family.tokens(*size) for size in SIZES) == GOLDEN[model]


@pytest.mark.parametrize(
    ("family", "size", "kept", "tokens"),
    [
        (TILES, (1024, 1024), (768, 768), 765),
        (TILES, (2048, 4096), (768, 1536), 1105),
        (PATCHES, (1024, 1024), (1024, 1024), 1659),
        (PATCHES, (1800, 2400), (1056, 1408), 2353),  # 1,452 patches
        (ORIGINAL, (1024, 1024), (1024, 1024), 1229),
        (STANDARD, (1000, 1000), (1000, 1000), 1296),
        (STANDARD, (1920, 1080), (1456, 819), 1560),
        (HIGH, (1000, 1000), (1000, 1000), 1296),
        (HIGH, (1920, 1080), (1920, 1080), 2691),
        (HIGH, (3024, 1964), (2380, 1546), 4760),
        (HIGH, (3840, 2160), (2576, 1449), 4784),
        (HIGH, (4032, 3024), (2212, 1659), 4740),
        (GEMINI, (384, 384), (384, 384), 258),
        (GEMINI, (960, 540), (960, 540), 6 * 258),
        (MISTRAL, (1540, 1540), (1540, 1540), 55 * 55 + 55),
    ],
)
def test_the_published_examples_hold(family, size, kept, tokens):
    assert (family.kept(*size), family.tokens(*size)) == (kept, tokens)


@pytest.mark.parametrize(
    ("size", "charged"),
    # Bills of gpt-5.5 that were published, in image tokens.
    [((256, 256), 77), ((768, 768), 692), ((1280, 720), 1104), ((3840, 2160), 9792), ((4032, 3024), 11868)],
)
def test_published_bills_are_met(size, charged):
    assert ORIGINAL.tokens(*size) == charged


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("gpt-4o", "gpt-4o"),
        ("openai:gpt-4o-mini", "gpt-4o-mini"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("google_genai:gemini-2.5-flash-lite", "gemini-2.5-flash-lite"),
        ("google_genai:gemini-3-flash-preview", "gemini-3-flash"),
        ("anthropic:claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("claude-opus-5-5", "claude-opus-5-5"),
        ("mistralai:mistral-small-latest", "mistral-small"),
        ("gpt-4o-audio-preview", None),
        ("gpt-4", None),
        ("gpt-5-minimal", None),
        ("sandbox", None),
        ("", None),
    ],
)
def test_a_model_is_found_by_name_and_only_itself_or_its_dated_version(name, model):
    found = find_model(name)
    assert (None if found is None else found.name) == model


def test_every_family_has_sources_and_output_is_never_cheaper_than_input():
    for family in FAMILIES:
        assert family.source.startswith("https://")
        assert family.prices.startswith("https://")
        assert family.models
        for input_price, output_price in family.models.values():
            assert 0 < input_price <= output_price


def test_no_model_is_in_two_families():
    names = [name for family in FAMILIES for name in family.models]
    assert len(names) == len(set(names))


def test_a_large_picture_costs_no_more_than_the_published_most():
    for size in ((4000, 3000), (9000, 300), (20_000, 20_000), (1800, 2400)):
        assert 1400 * 1.62 < PATCHES.tokens(*size) <= 1536 * 1.62 + 1 or size == (9000, 300)
        assert max(PATCHES.kept(*size)) <= 2048
        assert STANDARD.tokens(*size) <= 1568
        assert HIGH.tokens(*size) <= 4784
        assert max(STANDARD.kept(*size)) <= 1568
        assert max(HIGH.kept(*size)) <= 2576
        assert max(TILES.kept(*size)) <= 2048
        assert min(TILES.kept(*size)) <= 768


@given(SIDES, SIDES)
def test_no_provider_makes_a_picture_that_fits_smaller(width, height):
    fit = fit_size(width, height)
    for family in FAMILIES:
        kept = family.kept(*fit)
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
