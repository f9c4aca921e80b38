"""Figures that follow from a report."""

from __future__ import annotations

import pytest

from tests.made_reports import point, report


def test_hypervolumes_and_the_ratio_have_known_values() -> None:
    measured = report()
    assert measured.hypervolume("ours") == pytest.approx(0.25 * 0.5 + 0.5 * 1.0)
    assert measured.hypervolume("blur") == pytest.approx(0.25)
    assert measured.best_baseline == "blur"
    assert measured.advantage == pytest.approx(2.5)


def test_a_leak_below_chance_is_noise_and_adds_no_area() -> None:
    points = (point("ours", 0.0, -0.2, 0.5),)
    assert report().model_copy(update={"points": points}).hypervolume("ours") == pytest.approx(0.5)
