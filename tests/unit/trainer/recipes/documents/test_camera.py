"""Pictures of a page are what a camera or a messenger makes of it, and can be turned upright again."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from trainer.recipes.documents.camera import CAMERAS


@pytest.fixture(scope="module")
def page() -> Image.Image:
    """White, with a dark block in the upper left of its middle."""
    made = Image.new("RGB", (120, 160), "white")
    made.paste((20, 30, 60), (20, 25, 60, 65))
    return made


def _middle(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    left, top = (image.width - size[0]) // 2, (image.height - size[1]) // 2
    return np.asarray(image.crop((left, top, left + size[0], top + size[1])), dtype=float)


@pytest.mark.parametrize("taken", CAMERAS)
def test_upright_every_picture_shows_the_page_where_it_was(taken, page):
    for seed in range(6):
        shot = CAMERAS[taken](np.random.default_rng(seed), page)
        assert shot.image.mode == "RGB"
        shown = _middle(shot.upright(shot.image), page.size).mean(axis=2)
        assert shown[35:55, 30:50].mean() < 110
        assert shown[100:140, 70:100].mean() > 150


@pytest.mark.parametrize("taken", CAMERAS)
def test_the_same_state_gives_the_same_picture(taken, page):
    one, two = (CAMERAS[taken](np.random.default_rng(5), page) for _ in range(2))
    assert one.image.tobytes() == two.image.tobytes()


def test_all_but_the_screenshot_change_the_pixels(page):
    changed = {
        taken
        for taken, take in CAMERAS.items()
        if take(np.random.default_rng(0), page).image.tobytes() != page.tobytes()
    }
    assert changed == {*CAMERAS} - {"screenshot"}


def test_pages_are_turned_by_right_angles_and_by_little(page):
    turned = [CAMERAS["turned"](np.random.default_rng(seed), page).turned for seed in range(40)]
    assert {90.0, 180.0, 270.0} <= set(turned)
    assert min(turned) < -3
    assert any(3 < each < 21 for each in turned)
