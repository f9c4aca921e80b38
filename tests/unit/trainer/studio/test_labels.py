"""Labels are read and written a picture at a time, whole or not at all."""

from __future__ import annotations

import json

import pytest

from langchain_vpp.errors import DataError
from tests.unit.trainer.studio.conftest import encoded
from trainer.data.format import read_line
from trainer.data.review import Said, proposed_by, read_said, write_said
from trainer.studio.label_files import Given
from trainer.studio.labels import Labels

CHOICES = ["red", "blue"]


def line(number: int, **changes) -> dict:
    task = {"question": "What colour?", "choices": CHOICES}
    said = {"image": f"images/{number}.png", "split": "train", "group": "g", "tasks": [task], "private": {}}
    return said | changes


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(3):
        (tmp_path / f"images/{number}.png").write_bytes(encoded(seed=number))
    done = {"question": "What colour?", "choices": CHOICES, "answer": "red", "answers": ["red", "blue"]}
    open_question = {"question": "How many?", "answer": "2"}
    lines = [
        line(0, tasks=[done, open_question], private={"gender": "f"}),
        line(1),
        line(2, texts={"name": "Ada"}),
    ]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    return tmp_path


def written(folder) -> list[dict]:
    return [json.loads(each) for each in (folder / "data.jsonl").read_text().splitlines()]


def save(labels, place, answers=None, private=None, texts=None) -> None:
    picture = labels.pictures()[place]
    labels.save(picture.image, picture.version, Given(answers or {}, private or {}, texts or {}))


def test_every_picture_is_asked_every_question(folder):
    pictures = Labels(folder).pictures()
    assert [each.is_complete for each in pictures] == [True, False, False]
    assert [[one.question for one in each.answers] for each in pictures] == [
        ["What colour?", "How many?"]
    ] * 3
    assert [one.answer for one in pictures[0].answers] == ["red", "2"]


def test_what_a_person_says_is_written_and_all_else_stays(folder):
    labels = Labels(folder)
    before = (folder / "data.jsonl").read_bytes().splitlines()
    save(labels, 1, {"What colour?": "blue", "How many?": " "}, {"gender": "m", "age": ""})
    after = (folder / "data.jsonl").read_bytes().splitlines()
    assert (after[0], after[2]) == (before[0], before[2])
    assert written(folder)[1] == line(
        1, tasks=[{"question": "What colour?", "choices": CHOICES, "answer": "blue"}], private={"gender": "m"}
    )
    assert read_line(after[1]).tasks[0].answer == "blue"
    save(labels, 0, {"What colour?": "blue", "How many?": "3"}, {"gender": "f"})
    assert written(folder)[0]["tasks"][0]["answers"] == ["red", "blue"]
    assert [*folder.glob(".*")] == []


def test_private_labels_can_be_given_before_answers(folder):
    labels = Labels(folder)
    save(labels, 2, private={"gender": "m"}, texts={"name": "Bo"})
    assert (written(folder)[2]["private"], written(folder)[2]["texts"]) == ({"gender": "m"}, {"name": "Bo"})
    assert not labels.pictures()[2].is_complete


@pytest.mark.parametrize("answers", [{"What colour?": "green"}, {"What colour?": "", "How many?": ""}])
def test_what_training_can_not_use_is_refused(folder, answers):
    labels = Labels(folder)
    before = (folder / "data.jsonl").read_bytes()
    with pytest.raises(DataError, match="line 1 was not written"):
        save(labels, 0, answers)
    assert (folder / "data.jsonl").read_bytes() == before


def test_undo_takes_back_one_save_after_the_other(folder):
    labels = Labels(folder)
    before = (folder / "data.jsonl").read_bytes()
    save(labels, 1, {"What colour?": "blue"})
    save(labels, 2, {"What colour?": "red"})
    assert [labels.undo(), labels.undo(), labels.undo()] == ["images/2.png", "images/1.png", None]
    assert (folder / "data.jsonl").read_bytes() == before


def test_two_people_do_not_overwrite_each_other(folder):
    labels = Labels(folder)
    seen = labels.pictures()[1]
    save(labels, 1, {"What colour?": "blue"})
    with pytest.raises(DataError, match="somebody else"):
        labels.save(seen.image, seen.version, Given({"What colour?": "red"}, {}, {}))
    other = Labels(folder)
    save(other, 1, {"What colour?": "red"})
    with pytest.raises(DataError, match="changed meanwhile"):
        labels.undo()
    assert written(folder)[1]["tasks"][0]["answer"] == "red"


def test_a_failed_write_leaves_the_file_as_it_was(folder, monkeypatch):
    labels = Labels(folder)
    before = (folder / "data.jsonl").read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainer.studio.label_files.os.fsync", fail)
    with pytest.raises(DataError, match="No space left"):
        save(labels, 1, {"What colour?": "blue"})
    assert (folder / "data.jsonl").read_bytes() == before
    assert [*folder.glob(".*")] == []


@pytest.mark.parametrize(
    "broken", ["not json", "[]", '{"image": 3}', '{"image": "a", "tasks": [{"answer": "x"}]}']
)
def test_a_file_that_is_no_data_set_is_refused_with_its_line(folder, broken):
    with (folder / "data.jsonl").open("a") as file:
        file.write(broken + "\n")
    with pytest.raises(DataError, match="line 4"):
        Labels(folder)


@pytest.fixture
def review(tmp_path):
    """A folder as ``vpp data init`` makes it: one question has choices, one picture has a proposal."""
    (tmp_path / "images").mkdir()
    images = [f"images/{number}.png" for number in range(2)]
    for number, image in enumerate(images):
        (tmp_path / image).write_bytes(encoded(seed=number))
    answers = [
        Said(images[0], "What colour?", "red"), Said(images[0], "How many?", "2"),
        Said(images[1], "What colour?", "blue", proposed_by("m")), Said(images[1], "How many?", ""),
    ]  # fmt: skip
    labels = [Said(images[0], "gender", "f"), Said(images[1], "text:name", "Ada", proposed_by("words"))]
    write_said(tmp_path / "answers.csv", answers)
    write_said(tmp_path / "labels.csv", labels)
    tasks = [{"question": "What colour?", "choices": CHOICES, "answer": "red"}]
    (tmp_path / "data.jsonl").write_text(json.dumps(line(0, tasks=tasks)) + "\n")
    return tmp_path


def test_files_of_data_init_are_read_and_written(review):
    labels = Labels(review)
    one, other = labels.pictures()
    assert labels.is_review
    assert (one.is_complete, other.is_complete) == (True, False)
    assert [each.choices for each in other.answers] == [tuple(CHOICES), ()]
    assert other.proposed == ("What colour?", "name")
    index = (review / "data.jsonl").read_bytes()
    save(labels, 1, {"What colour?": "blue", "How many?": "3"}, {"gender": "m"}, {"name": "Ada"})
    assert read_said(review / "answers.csv")[2:] == [
        Said("images/1.png", "What colour?", "blue"), Said("images/1.png", "How many?", "3"),
    ]  # fmt: skip
    assert read_said(review / "labels.csv") == [
        Said("images/0.png", "gender", "f"), Said("images/1.png", "gender", "m"),
        Said("images/1.png", "text:name", "Ada"),
    ]  # fmt: skip
    assert labels.pictures()[1].is_complete
    assert (review / "data.jsonl").read_bytes() == index


def test_choices_are_known_before_any_picture_has_an_answer(review):
    (review / "data.jsonl").unlink()
    (review / "questions.txt").write_text("What colour? | red | blue\nHow many?\n")
    one, _ = Labels(review).pictures()
    assert [each.choices for each in one.answers] == [tuple(CHOICES), ()]


def test_a_proposal_that_somebody_empties_keeps_its_row(review):
    for answer in ("red", "blue"):  # also when the picture is saved again
        save(Labels(review), 1, {"What colour?": answer}, {"gender": "m"})
        assert read_said(review / "labels.csv")[1:] == [
            Said("images/1.png", "gender", "m"), Said("images/1.png", "text:name", ""),
        ]  # fmt: skip
    assert Labels(review).pictures()[1].texts == {}


def test_a_save_into_files_of_data_init_is_taken_back_with_its_proposals(review):
    labels = Labels(review)
    before = [(review / name).read_bytes() for name in ("answers.csv", "labels.csv")]
    save(labels, 1, {"What colour?": "red"})
    assert labels.undo() == "images/1.png"
    assert [(review / name).read_bytes() for name in ("answers.csv", "labels.csv")] == before
    save(labels, 1, {"What colour?": "red"})
    save(Labels(review), 1, {"What colour?": "blue"})
    with pytest.raises(DataError, match="changed meanwhile"):
        labels.undo()


def test_the_page_shows_pictures_of_the_data_set_alone(open_studio, folder):
    (folder.parent / "secret.png").write_bytes(encoded())
    with (folder / "data.jsonl").open("a") as file:
        file.write(json.dumps(line(3, image="../secret.png")) + "\n")
    browser = open_studio(labels=Labels(folder))
    assert browser.see("labels/picture?image=images/1.png").status_code == 200
    for image in ("../secret.png", "images/9.png", "data.jsonl", "/etc/passwd", ""):
        answer = browser.see("labels/picture", params={"image": image})
        assert answer.status_code == 400


def test_the_page_saves_and_takes_back(open_studio, folder):
    browser = open_studio(labels=Labels(folder))
    everything = browser.see("labels/all").json()
    assert everything["attributes"] == {"gender": ["f"]}
    assert everything["kinds"] == ["name"]
    shown = everything["pictures"][1]
    form = {
        "image": shown["image"], "version": shown["version"], "answers": {"What colour?": "blue"}, "private": {},
        "texts": {},
    }  # fmt: skip
    assert browser.do("labels/save", json=form).json()["pictures"][1]["is_complete"]
    assert browser.do("labels/save", json=form).status_code == 400
    assert browser.do("labels/save", json={"image": "x"}).status_code == 400
    assert browser.do("labels/undo").json()["undone"] == shown["image"]
    assert browser.do("labels/undo").json()["undone"] is None
