"""Faces that a detector finds are covered, whatever a network makes of them; a detector that fails fails closed."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from langchain_vpp.engines.face_cover import FaceCover
from langchain_vpp.errors import ArtifactError
from tests.made_detector import fixed_detector

FACE = (20.0, 30.0, 40.0, 56.0)
GREY = 128


def cover(faces=(FACE,), scores=(0.9,), *, scales=(1.0,), size=(96, 120), level=0.5):
    """Cover fixed faces in a picture of noise, and return what was shown before and after."""
    shown = np.random.default_rng(0).integers(0, 120, (*size, 3), dtype=np.uint8)
    finder = FaceCover(fixed_detector(faces, scores), threshold=0.5, scales=scales)
    return shown, finder.cover(shown, shown, level)


def covered(before, after):
    """Where the picture was painted over."""
    changed = (before != after).any(axis=2)
    assert (after[changed] == GREY).all()
    return changed


def test_a_head_is_covered_by_one_grey_and_all_else_is_left():
    before, after = cover()
    painted = covered(before, after)
    assert painted[32:54, 22:38].all(), "the face"
    assert painted[24:30, 26:34].all(), "the hair above it"
    assert not painted[:, 50:].any()
    assert not painted[80:].any()


def test_below_balanced_the_face_is_covered_and_hair_is_not():
    painted = covered(*cover(level=0))
    assert painted[32:54, 24:36].all(), "the face"
    assert painted[38:50, 20:40].all(), "from ear to ear"
    assert not painted[:23].any()
    assert (painted == covered(*cover(level=0.25))).all()


def test_a_higher_level_covers_all_that_a_lower_one_does():
    covers = [covered(*cover(level=level)) for level in (0, 0.3, 0.4, 0.5, 1)]
    for lower, higher in pairwise(covers):
        assert (higher | ~lower).all()
    assert covers[1].sum() < covers[2].sum() < covers[3].sum()
    assert (covers[3] == covers[4]).all()


def test_what_was_given_is_not_changed():
    shown = np.zeros((64, 64, 3), np.uint8)
    FaceCover(fixed_detector([FACE], [0.9]), threshold=0.5, scales=(1.0,)).cover(shown, shown, 1)
    assert not shown.any()


@pytest.mark.parametrize(("score", "is_covered"), [(0.49, False), (0.51, True), (math.nan, True)])
def test_the_threshold_decides_and_no_number_counts_as_a_face(score, is_covered):
    assert covered(*cover(scores=(score,))).any() == is_covered


@pytest.mark.parametrize("edge", [math.nan, math.inf])
def test_a_face_at_no_place_covers_everything(edge):
    assert covered(*cover(faces=((edge, 30.0, 40.0, 56.0),))).all()


def test_faces_found_in_a_smaller_copy_are_covered_where_they_are():
    half = tuple(edge / 2 for edge in FACE)
    assert (covered(*cover(faces=(half,), scales=(0.5,))) == covered(*cover())).all()


def test_every_scale_is_searched():
    both = covered(*cover(scales=(1.0, 0.5)))
    once, twice = (covered(*cover(scales=(scale,))) for scale in (1.0, 0.5))
    assert (both == (once | twice)).all()
    assert (once != twice).any()


@pytest.mark.parametrize(
    "face", [(-50.0, -50.0, 5.0, 5.0), (110.0, 90.0, 160.0, 150.0), (-500.0, 0.0, -400.0, 9.0)]
)
def test_faces_at_the_border_are_covered_as_far_as_they_are_seen(face):
    covered(*cover(faces=(face,)))


def test_a_picture_without_faces_stays_as_it_is():
    before, after = cover(faces=(), scores=())
    assert (before == after).all()


@pytest.mark.parametrize("names", [("boxes", "other"), ("scores", "boxes")])
def test_a_graph_with_other_outputs_is_refused(names):
    with pytest.raises(ArtifactError, match="other inputs or outputs"):
        FaceCover(fixed_detector([FACE], [0.9], names), threshold=0.5, scales=(1.0,))


def test_what_is_no_graph_is_refused():
    with pytest.raises(ArtifactError, match="face detector"):
        FaceCover(b"nothing", threshold=0.5, scales=(1.0,))
