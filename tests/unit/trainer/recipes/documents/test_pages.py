"""Pages of every kind hold the items that they are said to hold, and load nothing."""

from __future__ import annotations

import html
import re

import numpy as np
import pytest

from trainer.recipes.documents.pages import KINDS, design_page

_DESIGNS = 12


def _pages(kind):
    return [design_page(kind, np.random.default_rng((3, number))) for number in range(_DESIGNS)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_holds_its_items_and_asks_for_nothing_else(kind):
    for page in _pages(kind):
        text = html.unescape(re.sub(r"<style>.*?</style>|<[^>]*>", "", page.html, flags=re.DOTALL))
        assert page.kind == kind
        assert len(page.items) >= 4
        assert all(item in text for items in page.items.values() for item in items)
        assert not re.search(r"https?:|url\(|src=|href=|<script|@import", page.html)
        assert max(page.size) * page.scale <= 1600


@pytest.mark.parametrize("kind", KINDS)
def test_pages_come_in_many_fonts_sizes_and_colours(kind):
    pages = _pages(kind)
    fonts, sizes, backgrounds = (
        {re.search(pattern, page.html)[1] for page in pages}
        for pattern in (r'px/[\d.]+ "([^"]+)"', r"font: \d+ ([\d.]+)px", r"html \{ background: (\S+);")
    )
    assert len(fonts) >= 4
    assert len(sizes) >= 6
    assert len(backgrounds) >= 3
    assert len({page.scale for page in pages}) >= 2
    assert len({page.size for page in pages}) >= 3


@pytest.mark.slow(seconds=0.19)
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_state_gives_the_same_page(kind):
    assert _pages(kind) == _pages(kind)
