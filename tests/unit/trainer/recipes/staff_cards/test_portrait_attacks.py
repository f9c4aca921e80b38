"""Attacks on the portraits of cards, with portraits of nobody."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tests.made_reports import MANIFEST, report
from tests.portraits import save_portraits
from trainer.evaluation.results import OURS
from trainer.recipes.staff_cards.model_card import render_card
from trainer.recipes.staff_cards.portrait_attacks import attack_portraits, closing_level
from trainer.reporting.summary import percent_interval
from trainer.sandbox.drawing.portraits import PORTRAIT_ATTRIBUTES

_PEOPLE = {"train": 20, "val": 3, "test": 21}


class Closing:
    """The identity at level 0, blurred between the levels, and grey from level 1 on."""

    def protect(self, image, level):
        if level <= 0:
            return image.copy()
        if level < 1:
            return image.filter(ImageFilter.GaussianBlur(12))
        return Image.new("RGB", image.size, (128, 128, 128))


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Everybody looks different: a pattern of their own."""
    folder = save_portraits(tmp_path_factory.mktemp("faces"))
    chance = np.random.default_rng(0)
    for path in sorted(folder.rglob("*.png")):
        cells = Image.fromarray(chance.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        cells.resize((96, 96), Image.Resampling.BICUBIC).save(path)
    return folder


@pytest.fixture(scope="module")
def before():
    made = report()
    opened, closed, *others = made.points
    return made.model_copy(
        update={
            "points": (opened, opened.model_copy(update={"level": 0.5}), closed, *others),
            "not_tested": (
                "re-identification of the people in the pictures",
                "reconstruction of the originals from protected pictures",
                "other chat models than this one",
            ),
        }
    )


def _closed(report):
    """An audit of its most private level alone."""
    last = report.of(OURS)[-1]
    return report.model_copy(update={"points": (last,)})


@pytest.fixture(scope="module")
def closing(faces, before):
    return attack_portraits(before, Closing(), faces, PORTRAIT_ATTRIBUTES, people=_PEOPLE)


@pytest.mark.trains
def test_people_are_found_in_what_shows_them_and_not_in_grey(closing):
    opened, _, closed = closing.of(OURS)
    assert [each.gallery for each in opened.identity] == ["originals", "protected"]
    for search in opened.identity:
        assert search.probes == search.people == 21
        assert not search.same_picture
        assert search.top1.low > 5 * search.top1_floor
        assert search.auc.low > 0.8
    for search in closed.identity:
        assert search.top1.low <= search.top1_floor <= search.top1.high
        assert search.auc.low <= 0.5 <= search.auc.high
    (ceiling,) = closing.originals.identity
    assert ceiling.top1.low > 5 * ceiling.top1_floor


@pytest.mark.trains
def test_what_is_restored_is_the_original_or_a_guess(closing):
    opened, _, closed = (point.restored for point in closing.of(OURS))
    assert opened.psnr.value > closed.psnr.value + 10
    assert opened.ssim.value > 0.9
    assert closed.psnr.value < closed.psnr_floor + 1.5
    assert {each.subject for each in closed.attributes} == {*PORTRAIT_ATTRIBUTES}
    assert closed.attributes != opened.attributes


@pytest.mark.trains
def test_a_level_that_hides_too_little_is_told_from_one_that_hides(closing):
    _, weak, closed = closing.of(OURS)
    assert weak.identity[0].top1.low > closed.identity[0].top1.high


@pytest.mark.slow(seconds=0.31)
@pytest.mark.parametrize("opening", [0.0, 0.62, 1.0])
def test_balanced_is_the_weakest_level_from_which_on_portraits_show_nothing(faces, opening):
    class Opening:
        """Shows one pixel in twenty of a portrait, by one grey level."""

        def protect(self, image, level):
            grey = np.full((*image.size[::-1], 3), 128, np.uint8)
            if level < opening or 0.07 < level < 0.13:
                grey[::4, ::5] += (np.asarray(image)[::4, ::5] > 90).astype(np.uint8)
            return Image.fromarray(grey)

    expected = {0.0: 0.15, 0.62: 0.65, 1.0: 1.0}[opening]
    assert closing_level(Opening(), faces, seed=0, people=3) == expected


@pytest.mark.trains
def test_the_report_says_what_was_tested_and_leaves_the_rest_as_it_was(before, closing):
    assert closing.not_tested == ("other chat models than this one",)
    assert "44 people" in closing.attacker
    assert before.attacker in closing.attacker
    emptied = [point.model_copy(update={"identity": (), "restored": None}) for point in closing.points]
    assert tuple(emptied) == before.points
    assert closing.of("blur") == before.of("blur")


@pytest.mark.trains
def test_the_card_shows_who_was_found(closing):
    card = render_card(MANIFEST, closing)
    first = closing.of(OURS)[0].identity
    for search, gallery in zip(first, ("originals", "pictures protected alike"), strict=True):
        (line,) = (line for line in card.splitlines() if f"among 21 {gallery} |" in line)
        assert percent_interval(search.top1) in line


@pytest.mark.trains
def test_it_is_reproducible(faces, before):
    few = {"train": 4, "val": 2, "test": 3}
    once, again = (
        attack_portraits(_closed(before), Closing(), faces, PORTRAIT_ATTRIBUTES, people=few) for _ in range(2)
    )
    assert once == again
    assert once.of(OURS)[0].restored is not None
