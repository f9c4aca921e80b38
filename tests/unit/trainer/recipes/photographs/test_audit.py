"""Audit of the photographs' artifact: rows become shares, and a covered face is told by its grey."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from trainer.recipes.photographs.audit.attacks import read_attributes, recognise
from trainer.recipes.photographs.audit.finders import finds
from trainer.recipes.photographs.audit.measures import grey_share
from trainer.recipes.photographs.audit.pasted import PastedFace, PastedPicture
from trainer.recipes.photographs.audit.summary import Audit, summarise

BOX = (10.0, 10.0, 30.0, 36.0)


@pytest.mark.parametrize(
    ("box", "found"),
    [
        (BOX, True),
        ((12, 12, 33, 40), True),
        ((40, 10, 60, 36), False),
        ((15, 18, 20, 24), False),
        ((0, 0, 300, 300), False),
    ],
    ids=["same", "close", "beside", "an eye", "everything"],
)
def test_a_box_is_about_a_face_if_place_and_size_are_alike(box, found):
    assert finds([box], BOX) == found


def test_a_covered_face_is_told_by_its_grey():
    pixels = np.zeros((50, 50, 3), np.uint8)
    assert grey_share(pixels, BOX) == 0
    pixels[8:38, 8:32] = 128
    assert grey_share(pixels, BOX) == 1
    pixels[24:] = 0
    assert 0.4 < grey_share(pixels, BOX) < 0.7
    assert grey_share(pixels, (90, 90, 99, 99)) == 1, "outside of the picture nothing is shown"


def rows(found):
    return [{"found": {"one": each}, "covered": not each} for each in found]


def test_shares_are_of_what_is_found_on_originals():
    attributes = {"gender": "Female", "race": "White", "age_group": "20-29"}
    faces = tuple(PastedFace(BOX, number, 26.0, attributes) for number in range(4))
    picture = PastedPicture(Image.new("RGB", (64, 64)), faces, dark=False)
    audit = Audit(
        pasted={"originals": rows([True, True, True, False]), "balanced": rows([False, True, False, True])},
        faces={"originals": [{"one": [BOX, (50, 50, 60, 62)]}], "balanced": [{"one": [(11, 11, 31, 37)]}]},
        objects={"originals": [{"person": 2, "dog": 1}], "balanced": [{"person": 2, "cat": 1}]},
        words={"originals": [{"one": ["stop", "exit"]}], "balanced": [{"one": ["stop"]}]},
        attacks={"originals": {}, "balanced": {}},
    )
    made = summarise([picture], audit)["variants"]["balanced"]
    pasted = made["pasted faces still found"]
    assert pasted["detectors"]["one"] == {"share": 1 / 3, "of": 3}
    assert pasted["groups"]["all"] == {"share": 1 / 3, "of": 3, "covered": 0.5}
    assert pasted["groups"]["height below 32"]["of"] == 3
    assert made["photographs' faces still found"]["one"] == {"share": 0.5, "of": 2}
    assert made["objects kept"]["kinds of objects"]["share"] == 0.5
    assert made["objects kept"]["same number of people (0, 1, 2, 3 or more)"]["share"] == 1
    assert made["words still read"]["one"] == {"share": 0.5, "of": 2}


def test_an_attacker_reads_what_can_be_read_and_nothing_else():
    torch.manual_seed(0)
    features = torch.randn(300, 6)
    values = ["a" if each > 0 else "b" for each in features[:, 0]]
    known, truth = {"sign": values[:200]}, {"sign": values[200:]}
    assert read_attributes(features[:200], known, features[200:], truth)["sign"].right > 0.85
    grey = torch.zeros(300, 6)
    reading = read_attributes(grey[:200], known, grey[200:], truth)["sign"]
    assert reading.right <= reading.chance
    assert reading.people == 100


def test_a_face_is_recognised_by_its_features_and_not_among_greys():
    torch.manual_seed(0)
    people = torch.randn(50, 16)
    assert recognise(people, people + 0.1 * torch.randn(50, 16), 50).right > 0.9
    assert recognise(people, torch.zeros(50, 16), 50).right <= 0.1
