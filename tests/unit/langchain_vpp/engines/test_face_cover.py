"""Faces that a detector finds are covered, whatever a network makes of them; a detector that fails fails closed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from langchain_vpp.engines.face_cover import FaceCover
from langchain_vpp.errors import ArtifactError
from tests.made_detector import fixed_detector

FACE = (20.0, 30.0, 40.0, 56.0)
GREY = 128


def cover(faces=(FACE,), scores=(0.9,), *, scales=(1.0,), size=(96, 120)):
    """Cover fixed faces in a picture of noise, and return what was shown before and after."""
    shown = np.random.default_rng(0).integers(0, 120, (*size, 3), dtype=np.uint8)
    return shown, FaceCover(fixed_detector(faces, scores), threshold=0.5, scales=scales).cover(shown, shown)


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


def test_below_a_level_the_face_alone_is_covered():
    shown = np.zeros((96, 120, 3), np.uint8)
    faces = FaceCover(fixed_detector([FACE], [0.9]), threshold=0.5, scales=(1.0,), heads_from=0.4)
    face, head, default = (covered(shown, faces.cover(shown, shown, *level)) for level in ([0.3], [0.4], []))
    assert face[32:54, 22:38].all(), "the face"
    assert not face[:23].any(), "the hair above it"
    assert head[18:30, 28:32].all()
    assert (head | face == head).all(), "a higher level only adds"
    assert (default == head).all()


@pytest.mark.parametrize(
    ("score", "hidden", "is_covered"),
    [(0.55, 0, False), (0.55, 1, False), (0.55, 8, True), (0.7, 0, True), (math.nan, 0, True)],
)
def test_a_weak_finding_counts_where_part_of_it_is_hidden_too(score, hidden, is_covered):
    seen = np.zeros((96, 120, 3), np.uint8)
    shown = seen.copy()
    shown[32 : 32 + hidden, 20:40] = GREY
    faces = FaceCover(fixed_detector([FACE], [score]), threshold=0.5, scales=(1.0,), sure=0.6)
    painted = covered(shown, faces.cover(seen, shown))
    assert painted[42:54, 22:38].all() == is_covered
    assert painted.any() == is_covered


@pytest.mark.parametrize(
    ("face", "is_covered"), [((math.nan, 30.0, 40.0, 56.0), True), ((-60.0, 30.0, -40.0, 56.0), False)]
)
def test_a_weak_finding_at_no_place_counts_and_one_outside_does_not(face, is_covered):
    seen = np.zeros((96, 120, 3), np.uint8)
    faces = FaceCover(fixed_detector([face], [0.55]), threshold=0.5, scales=(1.0,), sure=0.6)
    assert covered(seen, faces.cover(seen, seen)).all() == is_covered


def test_what_was_given_is_not_changed():
    shown = np.zeros((64, 64, 3), np.uint8)
    FaceCover(fixed_detector([FACE], [0.9]), threshold=0.5, scales=(1.0,)).cover(shown, shown)
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
