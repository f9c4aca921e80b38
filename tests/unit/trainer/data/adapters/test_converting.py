"""Published data sets become data sets of ours; a wrong folder is an error that names the missing file."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image

from langchain_vpp.errors import DataError
from tests.unit.trainer.data.adapters import published
from trainer.data.adapters import ADAPTERS, convert_data
from trainer.data.dataset import load_dataset

MISSING = {
    "csv": "data.csv",
    "coco": "annotations/instances_val2017.json",
    "vqa": "v2_OpenEnded_mscoco_val2014_questions.json",
    "okvqa": "OpenEnded_mscoco_val2014_questions.json",
    "vispr": "annotations/test2017",
    "fairface": "fairface_label_val.csv",
    "celeba": "list_eval_partition.txt",
    "hmdb51": "testTrainMulti_7030_splits",
    "ucf101": "ucfTrainTestlist/trainlist01.txt",
    "pa-hmdb51": "PrivacyAttributes",
    "screenleak": "annotations.jsonl",
    "hf": "dataset_info.json",
}
FILMS = {"hmdb51", "ucf101", "pa-hmdb51"}


def converted(tmp_path, name, options=None, made=None):
    source, out = tmp_path / "source", tmp_path / "out"
    (made or getattr(published, name.replace("-", "_")))(source)
    result = convert_data(name, source, out, options or {})
    return result, [json.loads(line) for line in (out / "data.jsonl").read_text().splitlines()]


@pytest.mark.slow(seconds=1)
@pytest.mark.parametrize("name", sorted(set(ADAPTERS) - FILMS - {"hf"}))
def test_a_published_data_set_can_be_loaded(name, tmp_path):
    result, lines = converted(tmp_path, name)
    dataset = load_dataset(tmp_path / "out", needs_attributes=name not in {"folder", "screenleak"})
    assert len(dataset.examples) == len(lines) == sum(result.splits.values())
    assert all(result.splits.values())
    assert dataset.open_image(dataset.examples[0]).size == (16, 8)


@pytest.mark.parametrize("name", sorted(FILMS))
def test_films_are_lines_about_videos_that_are_loaded(name, tmp_path):
    result, lines = converted(tmp_path, name)
    assert all(result.splits.values())
    assert all((tmp_path / "out" / line["video"]).is_file() for line in lines)
    groups = {(line["group"], line["split"]) for line in lines}
    assert len(groups) == len({group for group, _ in groups})
    dataset = load_dataset(tmp_path / "out", needs_attributes=False)
    assert all(example.is_video for example in dataset.examples)
    assert [example.image for example in dataset.examples] == [line["video"] for line in lines]


@pytest.mark.parametrize("name", sorted(MISSING))
def test_a_wrong_folder_is_an_error_that_names_the_missing_file(name, tmp_path):
    (tmp_path / "source").mkdir()
    with pytest.raises(DataError, match="lacks") as caught:
        convert_data(name, tmp_path / "source", tmp_path / "out", {})
    assert MISSING[name] in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("csv", "1.png"),
        ("coco", "train2017/000000000003.jpg"),
        ("okvqa", "mscoco_train2014_annotations.json"),
        ("vispr", "images/val2017/2017_00000009.jpg"),
        ("fairface", "val/1.jpg"),
        ("celeba", "img_align_celeba/000003.jpg"),
        ("ucf101", "UCF-101/YoYo/v_YoYo_g09_c01.avi"),
    ],
)
def test_a_file_that_an_index_names_and_that_is_missing_is_named(name, gone, tmp_path):
    source = tmp_path / "source"
    getattr(published, name)(source)
    (source / gone).unlink()
    with pytest.raises(DataError, match=gone):
        convert_data(name, source, tmp_path / "out", {})


@pytest.mark.parametrize(
    ("name", "file", "content", "reason"),
    [
        ("coco", "annotations/instances_val2017.json", "{}", "there is no 'categories'"),
        ("coco", "annotations/instances_val2017.json", "[1]", "of another kind"),
        ("coco", "annotations/instances_val2017.json", "{", "is no JSON"),
        ("okvqa", "mscoco_val2014_annotations.json", '{"annotations": []}', "lacks question 310"),
        ("vispr", "annotations/val2017/2017_00000009.json", '{"labels": []}', "there is no 'image_path'"),
        ("celeba", "list_attr_celeba.txt", "1", "there is no|missing|list index"),
        ("fairface", "fairface_label_val.csv", "file,age\n1,2\n", "lacks the column gender, race"),
        ("screenleak", "annotations.jsonl", "{}", "line 1"),
        ("ucf101", "ucfTrainTestlist/classInd.txt", "one", "there is no|list index"),
    ],
)
def test_a_file_of_another_form_is_an_error_and_no_traceback(name, file, content, reason, tmp_path):
    source = tmp_path / "source"
    getattr(published, name)(source)
    (source / file).write_text(content)
    with pytest.raises(DataError, match=reason):
        convert_data(name, source, tmp_path / "out", {})
    assert not (tmp_path / "out").exists()  # so that the same command can be given again


def test_answers_of_all_annotators_count(tmp_path):
    _, lines = converted(tmp_path, "okvqa")
    (task,) = lines[0]["tasks"]
    assert (task["answer"], len(task["answers"]), task["answers"].count("rest")) == ("sitting", 10, 3)
    assert {line["private"]["people"] for line in lines} == {"none", "one", "several"}


def test_public_privacy_labels_of_okvqa_are_yes_or_no_for_the_pictures_that_have_them(tmp_path):
    _, lines = converted(tmp_path, "okvqa", made=published.okvqa_with_privacy)
    assert len(lines) == 6
    private = {line["image"][-6:-4]: line["private"] for line in lines}
    assert (private["31"]["a17_color"], private["32"]["a17_color"]) == ("yes", "no")
    assert set(private["33"].values()) == {"no"}
    assert all(len(each) == 7 for each in private.values())


def test_vispr_has_seven_attributes_or_all(tmp_path):
    _, lines = converted(tmp_path, "vispr")
    assert len(lines[0]["private"]) == 7
    assert lines[1]["tasks"][0] == {
        "question": "Does the picture show sports?",
        "answer": "yes",
        "choices": ["yes", "no"],
    }
    shutil.rmtree(tmp_path / "out")
    _, lines = converted(tmp_path, "vispr", {"attributes": "all"})
    assert set(lines[0]["private"]) == set(published.SEVEN)


def test_the_value_of_most_frames_counts(tmp_path):
    _, lines = converted(tmp_path, "pa-hmdb51")
    assert {line["private"]["face"] for line in lines} == {"2"}


def test_equal_files_are_left_out_and_that_of_the_later_split_stays(tmp_path):
    def made(source):
        published.fairface(source)
        shutil.copy(source / "val/0.jpg", source / "train/1.jpg")

    result, lines = converted(tmp_path, "fairface", made=made)
    assert [line["image"] for line in lines if line["image"].endswith(("train/1.jpg", "val/0.jpg"))] == [
        "images/val/0.jpg"
    ]
    assert any(note.startswith("1 files that equal") for note in result.notes)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("nothing", {}, "there is no format 'nothing'. Choose from csv"),
        ("csv", {"colour": "red"}, "csv has no option 'colour'"),
        ("vispr", {"attributes": "some"}, "attributes must be one of seven, all"),
        ("fairface", {"tasks": "height"}, "no attribute 'height'. Choose from age, gender, race"),
    ],
)
def test_what_does_not_exist_is_refused(name, options, reason, tmp_path):
    published.vispr(tmp_path / "source")
    published.fairface(tmp_path / "source")
    published.csv(tmp_path / "source")
    with pytest.raises(DataError, match=reason):
        convert_data(name, tmp_path / "source", tmp_path / "out", options)


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    published.csv(tmp_path / "source")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="is not an empty folder"):
        convert_data("csv", tmp_path / "source", tmp_path / "out", {})
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.slow(seconds=2)
def test_a_saved_data_set_of_the_package_datasets_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    source = tmp_path / "source"
    pictures = [Image.new("RGB", (16, 8), (number, 0, 0)) for number in range(40)]
    features = datasets.Features(
        image=datasets.Image(),
        label=datasets.ClassLabel(names=["cat", "dog"]),
        gender=datasets.Value("string"),
        room=datasets.Value("int32"),
    )
    rows = {
        "image": pictures,
        "label": [n % 2 for n in range(40)],
        "gender": ["f", "m"] * 20,
        "room": [n // 2 for n in range(40)],
    }
    datasets.DatasetDict(train=datasets.Dataset.from_dict(rows, features=features)).save_to_disk(source)
    options = {"ask": "Which animal?", "answer": "label", "private": "gender", "group": "room"}
    result = convert_data("hf", source, tmp_path / "out", options)
    assert sum(result.splits.values()) == 40
    dataset = load_dataset(tmp_path / "out", needs_attributes=False)
    first = dataset.examples[1]
    assert (first.tasks[0].answer, first.tasks[0].choices, first.private) == (
        "dog",
        ("cat", "dog"),
        {"gender": "m"},
    )
    assert dataset.open_image(first).getpixel((0, 0)) == (1, 0, 0)
    with pytest.raises(DataError, match="there is no column 'colour', but image, label"):
        convert_data("hf", source, tmp_path / "other", {**options, "answer": "colour"})
