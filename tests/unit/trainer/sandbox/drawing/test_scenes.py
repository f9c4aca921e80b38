"""The drawn scenes: deterministic, balanced, split without overlap."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from langchain_vpp.errors import DataError
from trainer.sandbox.drawing.scenes import (
    PRIVATE_ATTRIBUTES,
    PRIVATE_QUESTIONS,
    SCENE_SIZE,
    TASKS,
    draw_scene,
    make_data,
)

if TYPE_CHECKING:
    from pathlib import Path

CHOICES = dict(PRIVATE_ATTRIBUTES) | {name: task.choices for name, task in TASKS.items()}


def read_lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "data.jsonl").read_text(encoding="utf-8").splitlines()]


def digests(folder: Path, lines: list[dict]) -> dict[str, str]:
    """Digest of the pixels, not of the file, of each image."""
    return {
        line["image"]: hashlib.sha256(Image.open(folder / line["image"]).tobytes()).hexdigest()
        for line in lines
    }


@pytest.fixture(scope="module")
def labels() -> list[dict[str, str]]:
    generator = np.random.default_rng(1)
    return [draw_scene(generator)[1] for _ in range(1500)]


def test_same_generator_state_draws_the_same_pixels():
    first, first_labels = draw_scene(np.random.default_rng(5))
    second, second_labels = draw_scene(np.random.default_rng(5))
    other, _ = draw_scene(np.random.default_rng(6))
    assert first.tobytes() == second.tobytes()
    assert first_labels == second_labels
    assert first.tobytes() != other.tobytes()
    assert first.size == (SCENE_SIZE, SCENE_SIZE)
    assert first.mode == "RGB"


@pytest.mark.slow(seconds=3)
def test_every_value_of_every_attribute_occurs_about_equally_often(labels):
    for name, choices in CHOICES.items():
        counts = Counter(label[name] for label in labels)
        assert set(counts) == set(choices)
        expected = len(labels) / len(choices)
        # Five standard deviations of a binomial count.
        assert max(abs(n - expected) for n in counts.values()) < 5 * np.sqrt(expected)


@pytest.mark.slow(seconds=2)
def test_attributes_tell_nothing_about_each_other(labels):
    for first, second in combinations(CHOICES, 2):
        table = np.zeros((len(CHOICES[first]), len(CHOICES[second])))
        for label in labels:
            table[CHOICES[first].index(label[first]), CHOICES[second].index(label[second])] += 1
        expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
        chi_squared = ((table - expected) ** 2 / expected).sum()
        freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
        assert chi_squared < freedom + 5 * np.sqrt(2 * freedom) + 5, (first, second)


def test_every_private_attribute_has_a_question():
    assert set(PRIVATE_QUESTIONS) == set(PRIVATE_ATTRIBUTES)


def test_make_data_writes_the_data_set_format(tmp_path):
    calls = []
    make_data(
        tmp_path / "d",
        train=5,
        val=3,
        test=2,
        seed=0,
        progress=lambda done, total: calls.append((done, total)),
    )
    lines = read_lines(tmp_path / "d")
    assert Counter(line["split"] for line in lines) == {"train": 5, "val": 3, "test": 2}
    assert calls == [(n, 10) for n in range(1, 11)]
    for line in lines:
        assert [task["question"] for task in line["tasks"]] == [task.text for task in TASKS.values()]
        assert all(task["answer"] in task["choices"] for task in line["tasks"])
        assert all(value in PRIVATE_ATTRIBUTES[name] for name, value in line["private"].items())
        assert set(line["private"]) == set(PRIVATE_ATTRIBUTES)
        with Image.open(tmp_path / "d" / line["image"]) as image:
            assert image.size == (SCENE_SIZE, SCENE_SIZE)


def test_no_image_is_in_two_splits_or_twice_in_one(tmp_path):
    make_data(tmp_path / "d", train=60, val=60, test=60, seed=0)
    found = digests(tmp_path / "d", read_lines(tmp_path / "d"))
    assert len(set(found.values())) == 180


def test_same_seed_writes_the_same_data_and_another_seed_writes_other_data(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        make_data(tmp_path / name, train=4, val=1, test=1, seed=seed)
    a, b, c = (read_lines(tmp_path / name) for name in "abc")
    assert a == b
    assert digests(tmp_path / "a", a) == digests(tmp_path / "b", b)
    assert not set(digests(tmp_path / "a", a).values()) & set(digests(tmp_path / "c", c).values())


def test_a_larger_data_set_begins_with_the_smaller_one(tmp_path):
    make_data(tmp_path / "small", train=2, val=1, test=1, seed=3)
    make_data(tmp_path / "large", train=4, val=2, test=1, seed=3)
    small = digests(tmp_path / "small", read_lines(tmp_path / "small"))
    large = digests(tmp_path / "large", read_lines(tmp_path / "large"))
    assert small.items() <= large.items()


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="not empty"):
        make_data(tmp_path, train=1, val=1, test=1, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_that_cannot_be_written_is_refused_without_a_chained_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="can't be written") as caught:
        make_data(tmp_path / "file" / "d", train=1, val=1, test=1, seed=0)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "sizes",
    [{"train": -1, "val": 2, "test": 2}, {"train": 0, "val": 0, "test": 0}],
    ids=["negative", "nothing"],
)
def test_impossible_sizes_are_refused_before_anything_is_written(tmp_path, sizes):
    with pytest.raises(DataError, match="No data was made"):
        make_data(tmp_path / "d", **sizes, seed=0)
    assert not (tmp_path / "d").exists()
