"""Covers are carried to the frames beside: what one frame covers, no other shows."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from langchain_vpp.engines.clip import Steadier, steadied

SIDE = 24
RNG = np.random.default_rng(0)
BACKGROUND = np.asarray(
    Image.fromarray(RNG.integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize(
        (160, 120), Image.Resampling.BICUBIC
    )
)
SECRET = np.asarray(
    Image.fromarray(RNG.integers(0, 255, (6, 6, 3), dtype=np.uint8)).resize(
        (SIDE, SIDE), Image.Resampling.NEAREST
    )
)


def clip(places, covered) -> tuple[list[Image.Image], list[Image.Image]]:
    """Return frames with a secret at the places, and those frames with the secret covered in some of them."""
    originals, protected = [], []
    for place, is_covered in zip(places, covered, strict=True):
        frame = BACKGROUND.copy()
        if place is not None:
            top, left = place
            frame[top : top + SIDE, left : left + SIDE] = SECRET
        originals.append(Image.fromarray(frame))
        if place is not None and is_covered:
            frame = frame.copy()
            frame[top : top + SIDE, left : left + SIDE] = 128
        protected.append(Image.fromarray(frame))
    return originals, protected


def shown(image, place) -> float:
    """Return how much of the secret a frame shows, as the correlation with it."""
    top, left = place
    part = np.asarray(image, dtype=float)[top : top + SIDE, left : left + SIDE]
    if part.std() < 1:
        return 0.0
    return float(np.corrcoef(part.ravel(), SECRET.ravel())[0, 1])


STILL = [(40, 60)] * 8
MOVING = [(20 + 8 * number, 10 + 15 * number) for number in range(8)]
MISSED = [True, False, False, True, False, True, False, False]


@pytest.mark.parametrize("places", [STILL, MOVING], ids=["still", "moving"])
def test_the_weakest_frame_shows_no_more_than_the_best_one(places) -> None:
    originals, protected = clip(places, MISSED)
    assert max(shown(*each) for each in zip(protected, places, strict=True)) > 0.99
    made = steadied(originals, protected)
    assert max(shown(*each) for each in zip(made, places, strict=True)) < 0.2


@pytest.mark.parametrize("places", [STILL, MOVING], ids=["still", "moving"])
def test_neither_the_mean_nor_the_median_of_aligned_frames_shows_it(places) -> None:
    made = steadied(*clip(places, MISSED))
    aligned = np.stack([
        np.asarray(image)[top : top + SIDE, left : left + SIDE]
        for image, (top, left) in zip(made, places, strict=True)
    ])  # fmt: skip
    for merged in (aligned.mean(axis=0), np.median(aligned, axis=0)):
        assert abs(shown(merged, (0, 0))) < 0.2


def test_what_nothing_covers_stays_as_it_is() -> None:
    originals, _ = clip(MOVING, [False] * 8)
    for before, after in zip(originals, steadied(originals, originals), strict=True):
        assert np.array_equal(np.asarray(before), np.asarray(after))


def test_the_scene_is_kept_where_the_secret_was_before() -> None:
    originals, protected = clip([(40, 60), None, None], [True] * 3)
    made = steadied(originals, protected)
    for before, after in zip(originals[1:], made[1:], strict=True):
        assert np.array_equal(np.asarray(before), np.asarray(after))


def test_a_cut_carries_no_cover_to_the_next_shot() -> None:
    originals, protected = clip([(40, 60)], [True])
    other = Image.fromarray(255 - np.asarray(originals[0].transpose(Image.Transpose.ROTATE_180)))
    made = steadied([*originals, other], [*protected, other])
    assert np.array_equal(np.asarray(made[1]), np.asarray(other))


def test_a_single_frame_is_only_copied() -> None:
    originals, protected = clip(STILL[:1], [True])
    (made,) = steadied(originals, protected)
    assert np.array_equal(np.asarray(made), np.asarray(protected[0]))
    assert made is not protected[0]


def test_frames_are_held_back_only_so_long() -> None:
    originals, protected = clip(STILL, [False] * 5 + [True] + [False] * 2)
    steadier, shows = Steadier(ahead=2), []
    for pair in zip(originals, protected, strict=True):
        shows += [shown(each, STILL[0]) for each in steadier.push(*pair)]
    assert len(shows) == 6
    shows += [shown(each, STILL[0]) for each in steadier.rest()]
    assert min(shows[:2]) > 0.99  # they had left when the cover came
    assert max(shows[2:]) < 0.2
