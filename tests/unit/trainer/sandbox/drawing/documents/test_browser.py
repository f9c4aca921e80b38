"""Pages become pictures as a browser draws them, and a missing browser is named."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from langchain_vpp.errors import DataError
from trainer.recipes.documents.reading import draw_documents
from trainer.sandbox.drawing.documents.browser import BROWSERS, find_browser, render

_PAGE = (
    "<style>body { margin: 0; background: #204060 } div { width: 100px; height: 60px; background: #e0d0c0 }</style>"
    "<div></div>"
)


@pytest.fixture(scope="module")
def browser():
    if not any(map(shutil.which, BROWSERS)):
        pytest.skip("there is no Chromium on this machine")
    return find_browser()


@pytest.mark.slow(seconds=2)
def test_a_page_is_drawn_at_its_size_and_scale(browser):
    picture = render(_PAGE, (360, 240), 1.5, browser=browser).picture
    assert (picture.size, picture.mode) == ((540, 360), "RGB")
    pixels = np.asarray(picture)
    assert (pixels[:90, :150] == (0xE0, 0xD0, 0xC0)).all()
    assert (pixels[92:, :] == (0x20, 0x40, 0x60)).all()
    assert (pixels[:, 152:] == (0x20, 0x40, 0x60)).all()


def test_a_missing_browser_is_one_error_that_names_it(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    for draw in (find_browser, lambda: draw_documents(1, seed=0)):
        with pytest.raises(
            DataError, match=r"no page was rendered: Chromium is not installed.*chromium"
        ) as caught:
            draw()
        assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize(
    ("program", "reason"), [("/bin/false", "it ended with code 1"), ("/nothing", "FileNotFoundError")]
)
def test_a_browser_that_draws_nothing_is_named_with_the_reason(program, reason):
    with pytest.raises(DataError, match=f"{program} made no picture .{reason}") as caught:
        render(_PAGE, (40, 30), 1.0, browser=program)
    assert caught.value.__cause__ is caught.value.__context__ is None
