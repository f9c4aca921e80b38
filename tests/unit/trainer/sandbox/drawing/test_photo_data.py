"""Data sets of photographs: questions, splits, pasted faces, and refused folders."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from langchain_vpp.cli.app import app
from langchain_vpp.errors import DataError
from trainer.data.dataset import load_dataset
from trainer.sandbox.drawing.photo_data import make_photos
from trainer.sandbox.drawing.photographs import INDEX, read_photographs, read_split

FACE = (226, 24, 250)
RACES = ("White", "Black")


def write(folder, lines):
    (folder / INDEX).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Forty photographs, a quarter for testing; each has a dog, and one nothing that is known."""
    folder = tmp_path_factory.mktemp("photos")
    lines = []
    for number in range(41):
        Image.fromarray(np.full((200, 240, 3), number * 4, np.uint8)).save(folder / f"{number}.jpg")
        line = {"image": f"{number}.jpg", "split": "train" if number % 4 else "test"}
        if number < 40:
            line["objects"] = [{"object": each, "box": [0, 0, 90, 90]} for each in ("dog", "person")]
            line["captions"] = ["A dog is surfing."]
        lines.append(line)
    return write(folder, lines)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    rows = ["file,age_group,gender,race"]
    for number in range(30):
        name = f"{'val' if number % 3 == 0 else 'train'}/{number}.png"
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (32, 32), FACE).save(folder / name)
        rows.append(
            f"{name},{3 + number % 2}0-{3 + number % 2}9,{('male', 'female')[number % 2]},{RACES[number % 2]}"
        )
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def lines_of(folder):
    return [json.loads(line) for line in (folder / "data.jsonl").read_text().splitlines()]


def test_photographs_keep_their_split_and_get_their_questions(source, tmp_path):
    sizes = make_photos(tmp_path / "out", source)
    made = lines_of(tmp_path / "out")
    assert sum(sizes.values()) == len(made) == 40
    assert sizes["test"] == 10
    assert sizes["val"] > 0
    assert len({line["group"] for line in made}) == 40
    for line in made:
        split = "test" if int(line["group"].removesuffix(".jpg")) % 4 == 0 else {"train", "val"}
        assert line["split"] in split
        asked = {task["question"]: task["answer"] for task in line["tasks"]}
        assert asked["Is there a dog in the picture?"] == "yes"
        assert asked["How many people are in the picture?"] == "1"
        assert asked["What is the person doing?"] == "surfing"
    dataset = load_dataset(tmp_path / "out", needs_attributes=False)
    assert len(dataset.split("test")) == 10


def test_a_pasted_face_is_private_and_nothing_is_asked_about_persons(source, faces, tmp_path):
    make_photos(tmp_path / "out", source, faces=faces, topics=("objects", "people"))
    for line in lines_of(tmp_path / "out"):
        assert set(line["private"]) == {"gender", "age_group", "race"}
        assert not any("person" in task["question"] or "people" in task["question"] for task in line["tasks"])
        with Image.open(tmp_path / "out" / line["image"]) as image:
            near = np.abs(np.asarray(image, int) - FACE).sum(axis=2) < 60
        assert near.sum() > 800
    assert load_dataset(tmp_path / "out").private_attributes.keys() == {"gender", "age_group", "race"}


def test_the_same_seed_gives_the_same_data(source, faces, tmp_path):
    for name in ("a", "b"):
        make_photos(tmp_path / name, source, faces=faces, seed=3)
    assert lines_of(tmp_path / "a") == lines_of(tmp_path / "b")
    first = lines_of(tmp_path / "a")[0]["image"]
    assert (tmp_path / "a" / first).read_bytes() == (tmp_path / "b" / first).read_bytes()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"image": "0.jpg"}, "line 1: not the annotation of a photograph \\(split\\)"),
        ({"image": "../0.jpg", "split": "test"}, "missing or outside"),
        ({"image": "none.jpg", "split": "test"}, "missing or outside"),
        ({"image": "0.jpg", "split": "test", "objects": [{"object": "dog"}]}, "objects.0.box"),
    ],
)
def test_a_malformed_collection_is_refused_whole(tmp_path, line, reason):
    Image.new("RGB", (8, 8)).save(tmp_path / "0.jpg")
    with pytest.raises(DataError, match=reason):
        read_photographs(write(tmp_path, [line]))
    with pytest.raises(DataError, match="give a folder of photographs"):
        read_photographs(tmp_path / "none")


def test_a_split_is_chosen_and_licences_that_permit_use_are_known(source, tmp_path):
    assert [each.known.split for each in read_split(source, "test")] == ["test"] * 11
    Image.new("RGB", (8, 8)).save(tmp_path / "0.jpg")
    lines = [{"image": "0.jpg", "split": "train", "licence": licence} for licence in (1, 4, None)]
    found = read_split(write(tmp_path, lines), "train")
    assert [each.is_permissive for each in found] == [False, True, False]
    with pytest.raises(DataError, match="no photograph of the split 'test'"):
        read_split(tmp_path, "test")


def test_an_unknown_topic_and_a_collection_without_questions_are_refused(source, tmp_path):
    with pytest.raises(DataError, match="'weather' is no topic"):
        make_photos(tmp_path / "out", source, topics=("weather",))
    with pytest.raises(DataError, match="No data was made"):
        make_photos(tmp_path / "out", source, topics=("okvqa",))
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_it_made(source, tmp_path, capsys):
    out = str(tmp_path / "out")
    app(["sandbox", "make-photos", str(source), out, "--topic", "place", "--topic", "objects", "--json"],
        standalone_mode=False)  # fmt: skip
    made = json.loads(capsys.readouterr().out)
    assert (made["data"], made["test"]) == (out, 10)
