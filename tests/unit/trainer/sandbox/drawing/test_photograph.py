"""Photographs of flat things: what lies on the desk is where it was put."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from trainer.sandbox.drawing.photograph import box_corners, homography, photograph

_SIZE = (160, 120)


def test_four_corners_go_where_they_are_sent():
    source, target = box_corners(0, 0, 10, 4), np.array([[3.0, 1], [90, 7], [80, 60], [-2, 50]])
    points = np.c_[source, np.ones(4)] @ homography(source, target).T
    assert points[:, :2] / points[:, 2:] == pytest.approx(target)


def test_a_white_page_lies_at_its_corners_on_another_ground():
    corners = box_corners(40, 30, 120, 90)
    pages = [
        np.asarray(
            photograph(
                np.random.default_rng(seed),
                Image.new("RGB", (320, 240), "white"),
                Image.new("L", (320, 240), 255),
                corners,
                _SIZE,
            )
        )
        for seed in range(4)
    ]
    inside = np.stack(pages)[:, 34:86, 44:116]
    assert inside.min() > 150  # white in any light
    outside = np.stack(pages)[:, :26].reshape(4, -1, 3).mean(axis=1)
    assert np.abs(outside[0] - outside[1]).max() > 5  # each photograph has a desk of its own


def test_the_same_state_gives_the_same_pixels():
    page, shape = Image.new("RGB", (80, 60), "teal"), Image.new("L", (80, 60), 255)
    one, two = (
        photograph(np.random.default_rng(3), page, shape, box_corners(10, 10, 90, 70), _SIZE)
        for _ in range(2)
    )
    assert one.tobytes() == two.tobytes()
