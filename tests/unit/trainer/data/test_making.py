"""A data set from a folder of photographs: upright, without metadata, split by groups, and the same when made again."""

from __future__ import annotations

import csv
import json

import pytest
from PIL import ExifTags, Image

from langchain_vpp.errors import DataError
from trainer.data.dataset import load_dataset
from trainer.data.making import Asked, Recipe, make_data_set, read_questions
from trainer.data.review import Said, merged, proposed_by, read_said, write_said

COLOUR = Asked("What colour?", ("red", "blue"))


def noise(number: int, size=(48, 32)) -> Image.Image:
    return Image.effect_noise(size, 60 + number).convert("RGB")


def photograph(path, picture, *, taken: str = "", turned: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Odrana Velori"
    if turned:
        exif[ExifTags.Base.Orientation] = 6
    if taken:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = taken
    picture.save(path, exif=exif)


@pytest.fixture
def photos(tmp_path):
    """Two of one occasion, two that look alike, two in a folder, a turned one, a broken one, a text."""
    folder = tmp_path / "photos"
    photograph(folder / "occasion 1.jpg", noise(1), taken="2026:05:01 10:00:00")
    photograph(folder / "occasion 2.jpg", noise(2), taken="2026:05:01 10:01:30")
    photograph(folder / "later.jpg", noise(3), taken="2026:05:02 10:00:00", turned=True)
    scene = Image.effect_mandelbrot((96, 64), (-2.2, -1.2, 0.8, 1.2), 40).convert("RGB")
    photograph(folder / "scene.jpg", scene)
    photograph(folder / "scene smaller.png", scene.resize((72, 48)))
    for number in (4, 5):
        photograph(folder / "Ada" / f"{number}.jpg", noise(number))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (folder / "notes.txt").write_text("mine")
    return folder


def answers(tmp_path, photos, colour: str = "red"):
    path = tmp_path / "answers.csv"
    names = [
        each.relative_to(photos).as_posix() for each in sorted(photos.rglob("*.jpg")) if each.stem != "broken"
    ]
    names.append("scene smaller.png")
    path.write_text("image,What colour?\n" + "".join(f"{name},{colour}\n" for name in names))
    return path


def made(photos, out, **recipe):
    result = make_data_set(photos, out, Recipe((COLOUR,), **recipe), progress=lambda *_: None)
    lines = {}
    if (out / "data.jsonl").exists():
        for line in (out / "data.jsonl").read_text().splitlines():
            content = json.loads(line)
            lines[content["image"]] = content
    return result, lines


def test_pictures_are_upright_without_metadata_and_grouped(photos, tmp_path):
    result, lines = made(photos, tmp_path / "out", answers=answers(tmp_path, photos))
    turned = tmp_path / "out" / "images/later.jpg"
    with Image.open(turned) as image:
        assert image.size == (32, 48)
        assert not image.getexif()
    assert not [path for path in (tmp_path / "out" / "images").rglob("*.*") if b"Odrana" in path.read_bytes()]
    groups = {name: line["group"] for name, line in lines.items()}
    assert groups["images/occasion 1.jpg"] == groups["images/occasion 2.jpg"]
    assert groups["images/scene.jpg"] == groups["images/scene smaller.png"]
    assert groups["images/Ada/4.jpg"] == groups["images/Ada/5.jpg"]
    assert result.groups == len(set(groups.values())) == 4
    assert all(result.splits.values())
    assert [each.name for each in result.taken.failures] == ["broken.jpg"]
    assert result.taken.others == ("notes.txt",)
    load_dataset(tmp_path / "out", needs_attributes=False)


def test_made_again_it_is_the_same_and_only_new_pictures_are_written(photos, tmp_path):
    out = tmp_path / "out"
    _, before = made(photos, out, answers=answers(tmp_path, photos))
    times = {path: path.stat().st_mtime_ns for path in (out / "images").rglob("*.*")}
    for number in range(6, 12):
        photograph(photos / f"new {number}.jpg", noise(number))
    result, after = made(photos, out, answers=answers(tmp_path, photos))
    assert result.taken.new == 6
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert {name: after[name]["split"] for name in before} == {
        name: line["split"] for name, line in before.items()
    }


def test_a_killed_call_goes_on(photos, tmp_path):
    out = tmp_path / "out"

    def stop(_phase, done, _of):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_data_set(photos, out, Recipe((COLOUR,)), progress=stop)
    with (out / "sources.jsonl").open("a") as journal:
        journal.write('{"name": "cut o')
    result, _ = made(photos, out, answers=answers(tmp_path, photos))
    assert result.taken.new == 8 - 1 - 2  # of eight, one is broken and two were done
    assert made(photos, out)[0].taken.new <= 1  # the line after the cut one is lost at most


def test_what_somebody_writes_into_the_files_of_the_folder_is_taken_over(photos, tmp_path):
    out = tmp_path / "out"
    result, lines = made(photos, out)
    assert result.unanswered == len(result.taken.sources)
    assert lines == {}
    rows = list(csv.DictReader((out / "answers.csv").open()))
    assert {(row["question"], row["answer"]) for row in rows} == {("What colour?", "")}
    write_said(out / "answers.csv", [Said(row["image"], row["question"], "blue") for row in rows])
    result, lines = made(photos, out)
    assert result.unanswered == 0
    assert {line["tasks"][0]["answer"] for line in lines.values()} == {"blue"}


def test_proposals_are_marked_and_a_person_comes_before_them(photos, tmp_path):
    out = tmp_path / "out"

    def propose(sources, questions, known):
        told = {each.image for each in known if each.value}
        return [
            Said(source.image, what, value, proposed_by("a model"))
            for source in sources
            for what, value in ((questions[0].question, "blue"), ("gender", "f"), ("text:name", "Ada"))
            if source.image not in told or what != questions[0].question
        ]

    path = tmp_path / "some.csv"
    path.write_text("image;question;answer\nlater.jpg;What colour?;red\n")
    result, lines = made(photos, out, answers=path, propose=(propose,))
    assert result.proposed == 3 * len(lines) - 1
    assert lines["images/later.jpg"]["tasks"][0]["answer"] == "red"
    assert lines["images/scene.jpg"] | {"group": "", "split": ""} == {
        "image": "images/scene.jpg",
        "group": "",
        "split": "",
        "tasks": [{"question": "What colour?", "answer": "blue", "choices": ["red", "blue"]}],
        "private": {"gender": "f"},
        "texts": {"name": "Ada"},
    }
    sources = {each.what: each.source for each in read_said(out / "labels.csv")}
    assert sources == {"gender": "proposed by a model", "text:name": "proposed by a model"}


def test_names_are_understood_as_other_systems_write_them(photos, tmp_path):
    photograph(photos / "caf\u00e9.jpg", noise(9))
    path = tmp_path / "some.csv"
    path.write_text(
        "image,What colour?\nAda\\4.jpg,red\n./later.jpg,red\ncafe\u0301.jpg,blue\n", encoding="utf-8-sig"
    )
    _, lines = made(photos, tmp_path / "out", answers=path)
    assert set(lines) == {"images/Ada/4.jpg", "images/later.jpg", "images/caf\u00e9.jpg"}


def test_labels_give_groups_and_splits_too(photos, tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("image,gender,group,split\noccasion 1.jpg,f,one,test\noccasion 2.jpg,m,two,train\n")
    _, lines = made(photos, tmp_path / "out", labels=path, answers=answers(tmp_path, photos))
    one, two = lines["images/occasion 1.jpg"], lines["images/occasion 2.jpg"]
    assert (one["group"], one["split"], one["private"]) == ("one", "test", {"gender": "f"})
    assert (two["group"], two["split"]) == ("two", "train")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name,answer\na,b\n", "one of them 'image'"),
        (
            "image,question,answer\nnobody.jpg,What colour?,red\n",
            "1 pictures that there are not, the first 'nobody.jpg'",
        ),
        (
            "image,Which colour?\nlater.jpg,red\n",
            "answers 'Which colour\\?', which is none of the 1 questions",
        ),
        ("image,What colour?\nlater.jpg,red,blue\n", "line 2: the row has more cells"),
        ("image,What colour?\nlater.jpg,green\n", "the answer is none of the choices"),
    ],
)
def test_a_wrong_table_is_an_error_and_nothing_is_lost(photos, tmp_path, text, reason):
    path = tmp_path / "wrong.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=reason):
        made(photos, tmp_path / "out", answers=path)
    assert not (tmp_path / "out" / "data.jsonl").exists()


def test_a_value_that_says_nothing_is_refused_with_its_line(photos, tmp_path):
    made(photos, tmp_path / "out")
    labels = read_said(tmp_path / "out" / "labels.csv")
    write_said(tmp_path / "out" / "labels.csv", [labels[0], labels[1]._replace(value="female"), *labels[2:]])
    with pytest.raises(
        DataError, match=r"labels\.csv, line 3: there is a value and nothing in the column 'what'"
    ):
        made(photos, tmp_path / "out")


def test_one_group_can_not_be_split(tmp_path):
    for number in range(5):
        photograph(tmp_path / "photos" / "Ada" / f"{number}.jpg", noise(number))
    with pytest.raises(DataError, match=r"the 5 pictures form 1 group, .*--group-by alike, or none"):
        made(tmp_path / "photos", tmp_path / "out")
    result, _ = made(tmp_path / "photos", tmp_path / "out", group_by=())
    assert result.groups == 5


def test_questions_have_choices_after_bars(tmp_path):
    path = tmp_path / "q.txt"
    path.write_text("# mine\n\nWhat colour? | red | blue\nHow many people are there?\n")
    assert read_questions(path) == (COLOUR, Asked("How many people are there?"))
    path.write_text("What?\nWhat?\n")
    with pytest.raises(DataError, match="each once"):
        read_questions(path)


def test_a_proposal_never_replaces_a_person():
    person, machine = Said("a", "b", "red"), Said("a", "b", "blue", proposed_by("x"))
    assert merged([person], [machine]) == [person]
    assert merged([machine], [person]) == [person]
    assert merged([Said("a", "b", "")], [machine]) == [machine]
