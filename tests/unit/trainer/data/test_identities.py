"""Faces are grouped into people, who keep their names; whoever is seen once gets none."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from PIL import Image

from langchain_vpp import extras
from langchain_vpp.errors import MissingExtraError
from trainer.data.groups import Traits, group_pictures
from trainer.data.identities import FaceReader, IdentityProposals, Seen, cluster_faces
from trainer.data.making import Asked, Recipe, make_data_set
from trainer.data.review import Said, proposed_by, read_said
from trainer.data.sources import Source

ADA, BO, CY, DI = np.eye(128)[:4]


def near(vector: np.ndarray, number: int) -> np.ndarray:
    """The same face in another picture, 0.3 away."""
    return vector + 0.3 * np.eye(128)[10 + number]


@pytest.fixture
def propose(tmp_path):
    """Proposes people of pictures, given the faces of each: size and vector."""

    def run(pictures, known=()):
        sources = []
        for number in range(len(pictures)):
            Image.new("RGB", (4, 4)).save(tmp_path / f"{number}.png")
            sources.append(Source(f"{number}.png", f"{number}.png", Traits(str(number), "", None, None)))
        faces = iter(pictures)

        def see(_):
            return [Seen(area, vector) for area, vector in next(faces)]

        made = IdentityProposals(tmp_path, see, lambda *_: None)(sources, [], known)
        assert all(each.what == "person" and each.source == proposed_by("dlib") for each in made)
        return {each.image: each.value for each in made}

    return run


def test_people_of_several_pictures_are_named_after_the_largest_face(propose):
    found = propose([
        [(9, ADA), (4, DI)],  # seen twice, but once as the largest
        [(4, near(ADA, 1)), (9, CY)],  # nobody knows who is largest: seen once
        [(9, BO), (4, near(ADA, 2))],
        [],
        [(9, near(BO, 3))],
        [(9, near(DI, 4))],
    ])  # fmt: skip
    assert found == {"0.png": "person 1", "1.png": "person 1", "2.png": "person 2", "4.png": "person 2"}


def test_people_keep_the_names_that_somebody_gave_them(propose):
    pictures = [[(9, ADA)], [(9, near(ADA, 1))], [(9, BO), (4, near(ADA, 2))], [(9, near(BO, 3))]]
    known = [Said("0.png", "person", "Ada"), Said("2.png", "person", "person 1")]
    assert propose(pictures, known) == {"1.png": "Ada", "3.png": "person 1"}
    new = [Said("3.png", "person", "person 1")]
    assert propose([*pictures[:2], [(9, CY)], [(9, BO)]], new) == {"0.png": "person 2", "1.png": "person 2"}


def test_a_label_that_somebody_emptied_is_not_proposed_again(propose):
    assert propose([[(9, ADA)], [(9, ADA)], [(9, ADA)]], [Said("1.png", "person", "")]) == {
        "0.png": "person 1", "2.png": "person 1",
    }  # fmt: skip


def test_faces_are_one_person_up_to_a_mean_distance_of_0_45():
    def apart(distance: float) -> list[int]:
        return cluster_faces([ADA, ADA + distance * BO])

    assert len(set(apart(0.44))) == 1
    assert len(set(apart(0.46))) == 2
    assert cluster_faces([]) == []
    assert len(cluster_faces([ADA])) == 1


def test_pictures_of_a_person_stay_in_one_split_if_the_user_wants_it(tmp_path):
    pictures = [Traits(str(number), "", None, None, person=name) for number, name in enumerate("ABA ")]
    by_person = group_pictures([each._replace(person=each.person.strip()) for each in pictures], ["person"])
    assert by_person[0] == by_person[2]
    assert len(set(by_person)) == 3
    assert len(set(group_pictures(pictures, ["alike"]))) == 4

    (tmp_path / "photos").mkdir()
    for number in range(6):
        Image.effect_noise((16, 8), 50 + number).convert("RGB").save(tmp_path / f"photos/{number}.png")
    asked = Asked("What?", ("red", "blue"))

    def propose(sources, questions, known):
        names = [Said(each.image, "person", "Ada") for each in sources[:3]]
        return [*names, *(Said(each.image, asked.question, "red") for each in sources)]

    for reasons, private in ((("person",), {}), ((), {"person": "Ada"})):
        out = tmp_path / f"data-{len(reasons)}"
        made = make_data_set(
            tmp_path / "photos", out, Recipe((asked,), group_by=reasons, propose=(propose,)), progress=print
        )
        lines = [json.loads(line) for line in (out / "data.jsonl").read_text().splitlines()]
        assert made.groups == (4 if reasons else 6)
        assert [line["private"] for line in lines[:3]] == [private] * 3
        assert len({line["split"] for line in lines[:3]}) == 1 or not reasons
        assert [each.value for each in read_said(out / "labels.csv")[:3]] == ["Ada"] * 3


def test_faces_are_compared_here_and_names_alone_are_kept(tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(4):
        Image.effect_noise((16, 8), 50 + number).convert("RGB").save(tmp_path / f"photos/{number}.png")
    out = tmp_path / "data"
    propose = IdentityProposals(
        out, lambda _: [Seen(9, ADA)], lambda *_: None
    )  # no socket opens in unit tests
    made = make_data_set(
        tmp_path / "photos", out, Recipe((Asked("What?"),), propose=(propose,)), progress=print
    )
    assert made.proposed == 4
    assert {each.name for each in out.iterdir()} == {
        "answers.csv", "images", "labels.csv", "questions.txt", "sources.jsonl",
    }  # fmt: skip
    assert {each.value for each in read_said(out / "labels.csv")} == {"person 1"}
    assert "vector" not in (out / "sources.jsonl").read_text()


def test_a_missing_package_is_named_before_anything_is_written(monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(MissingExtraError, match=r"nothing was written.*dlib.*langchain-vpp\[identities\]"):
        FaceReader()


@pytest.mark.skipif(not extras.is_installed("dlib", "face_recognition_models"), reason="extra `identities`")
@pytest.mark.slow(seconds=2)
def test_a_real_face_is_known_again():
    from skimage import data

    portrait = Image.fromarray(data.astronaut()).crop((120, 0, 360, 260))
    turned = portrait.transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(6)
    read = FaceReader()
    (one,), (other,) = read(portrait), read(turned)
    assert np.linalg.norm(one.vector - other.vector) < 0.45
    assert read(Image.new("RGB", (200, 200), "grey")) == []
