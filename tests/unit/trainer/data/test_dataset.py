"""The data set on disk: every bad line is refused with its number, and what is good is read right."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from langchain_vpp.errors import DataError
from tests.unit.trainer.data.data_folder import TASK, line, lines, write
from trainer.data.dataset import load_dataset


def refuse(folder, entries, match: str) -> str:
    write(folder, entries)
    with pytest.raises(DataError, match=match) as caught:
        load_dataset(folder)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return str(caught.value)


def test_a_good_data_set_is_read(folder):
    write(folder, ["", *lines(), "  "])
    dataset = load_dataset(folder)
    assert [len(dataset.split(split)) for split in ("train", "val", "test")] == [2, 1, 1]
    assert dataset.private_attributes == {"gender": ("f", "m")}
    assert dataset.questions == (TASK["question"],)
    assert dataset.labels(dataset.examples).tolist() == [[0], [1], [0], [1]]


BOM = b"\xef\xbb\xbf"
ENCODINGS = {
    "a mark": lambda text: BOM + text.encode(),
    "two marks": lambda text: BOM + BOM + text.encode(),
    "a mark in each line": lambda text: b"".join(
        BOM + each for each in text.encode().splitlines(keepends=True)
    ),
    "lines of Windows": lambda text: BOM + text.replace("\n", "\r\n").encode(),
    "UTF-16 of PowerShell": lambda text: text.replace("\n", "\r\n").encode("utf-16"),
    "UTF-16 of the other order": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
}


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
def test_files_of_other_programs_are_read(folder, encode):
    write(folder, [*lines()[:3], line("5.png", gender="\u00e9\ufeff"), lines()[3]])
    whole = load_dataset(folder)
    path = folder / "data.jsonl"
    path.write_bytes(encode(path.read_text(encoding="utf-8")))
    assert load_dataset(folder).examples == whole.examples


def test_the_same_question_may_be_asked_twice_with_one_answer(folder):
    write(folder, [line("5.png", tasks=[TASK, TASK | {"answer": "Red!"}]), *lines()])
    assert len(load_dataset(folder).examples[0].tasks) == 2


def test_the_digest_is_that_of_the_file(folder):
    write(folder, lines())
    before = load_dataset(folder).digest
    write(folder, [*lines(), ""])
    assert load_dataset(folder).digest != before


BAD_LINES = {
    "not JSON": ("{", "not JSON"),
    "cut off": (json.dumps(line("1.png"))[:-5], "not JSON"),
    "a list": ("[1]", "dictionary|object"),
    "too deep": ("[" * 100_000, "not JSON"),
    "a number": ("7", "dictionary|object"),
    "no image": (
        {key: value for key, value in line("1.png").items() if key != "image"},
        "image: Field required",
    ),
    "empty image": (line(""), "image"),
    "image that is no text": (line(7), "image"),
    "unknown split": (line("1.png", "training"), "split"),
    "no tasks": (line("1.png", tasks=[]), "tasks"),
    "no question": (line("1.png", tasks=[{"question": "", "answer": "red"}]), "question"),
    "no answer": (line("1.png", tasks=[{"question": "Colour?"}]), "tasks.0.answer: Field required"),
    "answer that is no choice": (line("1.png", tasks=[TASK | {"answer": "green"}]), "none of the choices"),
    "equal choices": (
        line("1.png", tasks=[TASK | {"choices": ["red", "Red!"]}]),
        "two choices read the same",
    ),
    "empty choice": (line("1.png", tasks=[TASK | {"choices": ["red", " "]}]), "a choice is empty"),
    "unknown field": (line("1.png", label="x"), "label"),
    "unknown field of a task": (line("1.png", tasks=[TASK | {"hint": "x"}]), "hint"),
    "label that is no text": (line("1.png", private={"gender": 1}), "private.gender"),
    "texts that are a list": (line("5.png", texts=["Odrana"]), "texts"),
    "text that is a number": (line("5.png", texts={"id number": 4821}), "texts.id number"),
    "text of blanks": (line("5.png", texts={"name": " "}), "texts.name"),
    "text without a name": (line("5.png", texts={"": "Odrana"}), "texts"),
    "half a surrogate pair": (line("5.png", group="\ud83d"), "not JSON"),
    "missing image": (line("9.png"), "there is no image '9.png'"),
    "image with a NUL": (line("9\0.png"), "there is no image"),
    "image with a long name": (line("9" * 5000), "there is no image"),
    "image that is a loop": (line("loop.png"), "there is no image"),
    "a folder as image": (line("."), "there is no image"),
    "image outside": (line("../outside.png"), "outside the data set's folder"),
    "absolute image": (line("/etc/passwd"), "outside the data set's folder"),
    "image again": (line("2.png"), "the image of line 2 again"),
    "link to a cache": (line("linked.png"), r"outside the data set's folder: a link leads there.*cp -rL"),
    "link of a folder": (line("linked/outside.png"), "outside the data set's folder: a link leads there"),
    "image again in other words": (line("./2.png"), "the image of line 2 again"),
    "image again through a link": (line("two.png"), "the image of line 2 again"),
    "a split twice": (
        json.dumps(line("5.png")).replace('"split"', '"split": "test", "split"'),
        "'split' stands twice",
    ),
    "an answer twice": (
        json.dumps(line("5.png")).replace('"answer"', '"answer": "blue", "answer"'),
        "'answer' stands twice in one object",
    ),
    "a label twice": (
        json.dumps(line("5.png")).replace('"gender"', '"gender": "m", "gender"'),
        "'gender' stands twice",
    ),
    "no class": (line("5.png", private={"gender": ""}), "private.gender: is empty"),
    "class of blanks": (line("5.png", private={"gender": " \t"}), "private.gender: is empty"),
    "attribute of blanks": (line("5.png", private={" ": "f"}), "private"),
    "question of blanks": (line("5.png", tasks=[TASK | {"question": " "}]), "question: is empty"),
    "answer of blanks": (
        line("5.png", tasks=[{"question": "Colour?", "answer": " "}]),
        "tasks.0.answer: is empty",
    ),
    "contradiction in unseen letters": (
        line(
            "5.png",
            tasks=[TASK, TASK | {"question": "What colour is\u00ad the sign?\u200b", "answer": "blue"}],
        ),
        "has two answers",
    ),
    "contradiction": (
        line("5.png", tasks=[TASK, TASK | {"answer": "blue"}]),
        "the question 'What colour is the sign.' has two answers.*'answers'",
    ),
    "contradiction in other letters": (
        line("5.png", tasks=[TASK, TASK | {"question": "what colour is  the sign? ", "answer": "blue"}]),
        "has two answers",
    ),
}


@pytest.mark.slow(seconds=0.02)
@pytest.mark.parametrize(("bad", "reason"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_refused_with_its_number(folder, bad, reason):
    (folder.parent / "outside.png").touch()
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "linked.png").symlink_to("../outside.png")
    (folder / "linked").symlink_to("..")
    (folder / "two.png").symlink_to("2.png")
    good = lines()
    message = refuse(folder, [*good[:3], "", bad, good[3]], rf"line 5: .*({reason})")
    assert "\n" not in message


def test_a_link_to_a_picture_outside_is_refused(folder):
    (folder.parent / "outside.png").write_bytes((folder / "1.png").read_bytes())
    (folder / "link.png").symlink_to(folder.parent / "outside.png")
    refuse(folder, [*lines(), line("link.png")], "line 5: the image lies outside")


def test_a_group_on_both_sides_of_a_split_is_refused(folder):
    entries = [entry | {"group": "person 1"} for entry in lines()[:1]] + lines()[1:]
    refuse(folder, [*entries, line("5.png", "test", group="person 1")], "line 5: group 'person 1'.*in line 1")


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_data_set_is_refused(folder, text):
    refuse(folder, [text], "no image in train, val, test")


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_split_needs_an_image(folder, split):
    refuse(folder, [entry for entry in lines() if entry["split"] != split], f"no image in {split}")


def test_data_without_private_labels_are_refused(folder):
    refuse(folder, [entry | {"private": {}} for entry in lines()], "nothing to hide")


def test_an_attribute_of_one_class_is_refused(folder):
    entries = lines()
    entries[1]["private"]["gender"] = "f"
    refuse(folder, entries, "'gender' has one class only in train")


@pytest.mark.parametrize("name", ["nothing", "1.png"])
def test_a_folder_without_data_is_refused(folder, name):
    with pytest.raises(DataError, match="could not be read"):
        load_dataset(folder / name)


def test_bytes_that_are_no_text_are_refused_with_their_line(folder):
    (folder / "data.jsonl").write_bytes(json.dumps(lines()[0]).encode() + b"\n\xff\xfe\n")
    with pytest.raises(DataError, match="line 2: not JSON"):
        load_dataset(folder)


def test_separators_within_a_text_do_not_break_lines(folder):
    entries = lines()
    entries[0]["group"] = "a\u2028b\x85c"
    write(folder, [json.dumps(entry, ensure_ascii=False) for entry in entries])
    assert load_dataset(folder).examples[0].group == "a\u2028b\x85c"


def test_pixels_come_at_the_working_resolution_on_one_canvas(folder):
    Image.new("RGB", (100, 40), (255, 0, 0)).save(folder / "1.png")
    Image.new("L", (8, 32), 9).save(folder / "2.png")
    write(folder, lines())
    dataset = load_dataset(folder)
    pixels = dataset.pixels(dataset.split("train"), 48)
    assert pixels.shape == (2, 3, 32, 48)
    assert pixels.dtype == torch.uint8
    assert pixels[0, :, :16, :].float().mean(dim=(1, 2)).tolist() == [255, 0, 0]
    assert bool((pixels[0, :, 24:, :] == 128).all())
    assert bool((pixels[1, :, :, :8] == 9).all())


def test_small_images_are_not_enlarged(folder):
    write(folder, lines())
    dataset = load_dataset(folder)
    pixels = dataset.pixels(dataset.split("train"), 384)
    assert pixels.shape == (2, 3, 8, 16)
    assert np.unique(pixels[0, 0]).tolist() == [1]


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_an_image_that_cannot_be_decoded_is_named(folder, content):
    write(folder, lines())
    data = (folder / "2.png").read_bytes()
    (folder / "2.png").write_bytes(data[: len(data) // 2] if content is None else content)
    dataset = load_dataset(folder)
    with pytest.raises(DataError, match=r"2\.png can't be used.*Replace the file"):
        dataset.pixels(dataset.examples, 64)


def test_private_texts_are_read_and_are_no_attributes(folder):
    texts = {"name": "Odrana Velori", "id number": "482-1936"}
    write(folder, [lines()[0] | {"texts": texts}, *lines()[1:]])
    dataset = load_dataset(folder)
    assert dataset.examples[0].texts == texts
    assert dataset.examples[1].texts == {}
    assert set(dataset.private_attributes) == {"gender"}


def test_missing_and_unseen_labels_are_minus_one(folder):
    write(folder, [*lines(), line("5.png", "test", gender="unseen", private={})])
    dataset = load_dataset(folder)
    assert dataset.labels(dataset.split("test")).tolist() == [[1], [-1]]


def test_a_picture_in_two_splits_under_two_names_is_refused(folder):
    (folder / "copy.png").write_bytes((folder / "1.png").read_bytes())
    refuse(
        folder,
        [*lines(), line("copy.png", "test")],
        "line 5: the picture of line 1, which is in train, again in test",
    )


CONTRADICTIONS = {
    "class": ({"private": {"gender": "m"}}, "the private attribute 'gender'"),
    "class in other letters": ({"private": {"Gender ": "m"}}, "the private attribute 'gender'"),
    "answer": ({"tasks": [TASK | {"answer": "blue"}]}, "the answer to '[^']+'"),
    "answer to a question in other letters": (
        {"tasks": [TASK | {"question": TASK["question"].upper() + " ?", "answer": "blue"}]},
        "the answer to '[^']+'",
    ),
    "text": ({"texts": {"name": "Odrana"}}, "the text 'name'"),
}


@pytest.mark.parametrize(("labels", "what"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_copies_that_contradict_each_other_are_refused_with_both_lines(folder, labels, what):
    Image.effect_noise((40, 30), 50).save(folder / "1.png")  # of a size of its own
    good = [line("1.png", texts={"name": "Velori"}), *lines()[1:]]
    for number in (5, 6):
        (folder / f"copy {number}.png").write_bytes((folder / "1.png").read_bytes())
    agreeing = line("copy 5.png", private={}, tasks=[TASK | {"question": "And the sky?"}])
    write(folder, [*good, agreeing, line("copy 6.png", texts={"name": " velori"})])
    assert len(load_dataset(folder).examples) == 6
    refuse(
        folder,
        [*good, agreeing, line("copy 6.png", **labels)],
        f"line 6: the picture of line 1 again, with another value of {what}",
    )


def test_a_picture_twice_in_one_split_and_different_pictures_of_one_size_are_no_copies(folder):
    (folder / "copy.png").write_bytes((folder / "1.png").read_bytes())
    for number in range(3, 5):
        Image.new("RGB", (16, 8), (number, 0, 0)).save(folder / f"{number}.bmp")
        (folder / f"{number}.bmp").rename(folder / f"{number}.png")
    assert (folder / "3.png").stat().st_size == (folder / "4.png").stat().st_size
    write(folder, [*lines(), line("copy.png")])
    assert len(load_dataset(folder).examples) == 5
