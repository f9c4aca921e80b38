"""Faults of a data set are found before anything is paid."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from langchain_vpp.errors import DataError
from tests.unit.trainer.data.data_folder import TASK, line, lines, write
from trainer.data.checks import check_for_training
from trainer.data.dataset import load_dataset


def drawn(folder, rows):
    """A data set of a row per image: split, answer about the colour, gender."""
    entries = []
    for number, (split, colour, gender) in enumerate(rows):
        Image.new("RGB", (16, 8), (number % 256, number // 256, 9)).save(folder / f"row-{number}.png")
        tasks = [TASK | {"answer": colour}]
        entries.append(line(f"row-{number}.png", split, gender, tasks=tasks))
    write(folder, entries)
    return load_dataset(folder)


def rows(pattern, count=40):
    return [(split, *pattern(number)) for split in ("train", "val", "test") for number in range(count)]


def independent(number):
    return ("red", "blue")[number % 2], ("f", "m")[number // 2 % 2]


def test_a_data_set_without_a_fault_gives_no_warning(folder):
    assert check_for_training(drawn(folder, rows(independent))) == ()


def test_a_private_attribute_that_equals_a_task_is_told_with_its_floor(folder):
    (warning,) = check_for_training(drawn(folder, rows(lambda n: (("red", "f"), ("blue", "m"))[n % 2])))
    assert (
        "'What colour is the sign?' tells 'gender' right for 100% of the images of val (50% by guessing)"
        in warning
    )


def test_a_task_answer_that_predicts_a_private_attribute_is_told_with_its_floor(folder):
    def mostly(number):
        colour, gender = (("red", "f"), ("blue", "m"))[number % 2]
        return colour, {"f": "m", "m": "f"}[gender] if number % 5 == 0 else gender

    (warning,) = check_for_training(drawn(folder, rows(mostly)))
    assert "right for 80% of the images of val" in warning


def test_a_few_validation_images_give_no_false_alarm(folder):
    few = [each for each in rows(independent) if each[0] != "val"]
    few += [("val", "red", "f"), ("val", "red", "f"), ("val", "blue", "m"), ("val", "blue", "f")]
    assert check_for_training(drawn(folder, few)) == ()


@pytest.mark.parametrize("labels", [{"gender": "f"}, {"gender": "of no class in train"}, {}])
def test_an_attribute_of_one_class_on_val_is_refused_for_training(folder, labels):
    dataset = drawn(folder, rows(independent))
    entries = [json.loads(each) for each in (folder / "data.jsonl").read_text().splitlines()]
    entries = [entry | {"private": labels} if entry["split"] == "val" else entry for entry in entries]
    write(folder, entries)
    assert dataset.split("val")
    with pytest.raises(DataError, match="'gender' has fewer than two classes of train on val"):
        check_for_training(load_dataset(folder))


def test_a_question_of_one_answer_is_refused_for_training(folder):
    entries = [entry | {"tasks": [{"question": "Sign?", "answer": "yes"}]} for entry in lines()]
    write(folder, entries)
    with pytest.raises(DataError, match=r"'Sign\?' has one possible answer only"):
        check_for_training(load_dataset(folder))


def test_a_validation_picture_that_cannot_be_read_is_found_before_anything_is_paid(folder):
    dataset = drawn(folder, rows(independent))
    broken = folder / dataset.split("val")[7].image
    broken.write_bytes(b"no picture")
    with pytest.raises(DataError, match=broken.name):
        check_for_training(dataset)


def test_reference_answers_that_train_lacks_are_counted(folder):
    dataset = drawn(folder, rows(independent))
    entries = [json.loads(each) for each in (folder / "data.jsonl").read_text().splitlines()]
    for entry in entries:
        entry["tasks"] = [{"question": "Sign?", "answer": entry["tasks"][0]["answer"]}]
        if entry["image"] in {dataset.split("val")[3].image, dataset.split("val")[4].image}:
            entry["tasks"] = [{"question": "Sign?", "answer": "mauve"}]
    write(folder, entries)
    assert check_for_training(load_dataset(folder))[0].startswith("2 of 40 questions on val")


def test_a_question_with_dozens_of_answers_is_told_for_its_prompts(folder):
    def opened(count):
        data = drawn(folder, rows(independent))
        entries = [json.loads(line) for line in (folder / "data.jsonl").read_text().splitlines()]
        for number, entry in enumerate(entries):
            entry["tasks"] = [{"question": "What does it say?", "answer": f"word {number % count}"}]
        write(folder, entries)
        return check_for_training(load_dataset(data.folder))

    assert not any("possible answers" in warning for warning in opened(12))
    (warning,) = [each for each in opened(40) if "possible answers" in each]
    assert "'What does it say?' has 40 possible answers, and each of its prompts lists them all" in warning
    assert "the provider reads the answers of all pictures" in warning


def test_own_choices_of_one_answer_are_refused(folder):
    entries = lines()
    entries[1]["tasks"] = [TASK | {"choices": ["red"]}]
    write(folder, entries)
    with pytest.raises(DataError, match="has one possible answer only"):
        check_for_training(load_dataset(folder))


@pytest.mark.slow(seconds=0.06)
@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("f", "F", True),
        ("f", " f", True),
        ("f f", "f  F", True),
        ("f", "\uff46", True),
        ("f", "f\u200b", True),
        ("f", "\ufefff", True),
        ("f", "f.", True),
        ("dark hair", "dark_hair", True),
        ("it's", "it\u2019s", True),
        ("20-29", "20\u201329", True),
        ("A+", "A-", False),
        ("<20", ">20", False),
        ("20-29", "20-2", False),
        ("f", "ff", False),
        ("20-29", "2029", False),
    ],
)
def test_classes_that_differ_in_capitals_or_spaces_only_are_told(folder, one, other, alike):
    def spelled(number):
        colour, gender = independent(number)
        return colour, gender if gender == "m" else (one, other)[number // 4 % 2]

    warnings = check_for_training(drawn(folder, rows(spelled)))
    assert [each for each in warnings if "differ in capitals or spaces" in each] == list(warnings)
    assert bool(warnings) == alike
    if alike:
        assert f"classes of 'gender' {min(one, other)!r}, {max(one, other)!r}" in warnings[0]


def test_attributes_and_questions_that_are_spelled_in_two_ways_are_told(folder):
    drawn(folder, rows(independent))
    entries = (folder / "data.jsonl").read_text(encoding="utf-8").splitlines()
    entries[-1] = entries[-1].replace("What colour", "what  colour").replace('"gender"', '"Gender"')
    write(folder, entries)
    told = " ".join(check_for_training(load_dataset(folder)))
    assert "private attributes 'Gender', 'gender' differ" in told
    assert "questions 'What colour is the sign?', 'what  colour is the sign?' differ" in told
