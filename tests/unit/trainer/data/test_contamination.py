"""Nothing is measured on what an artifact was trained on, and the artifact names no single picture."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from langchain_vpp.artifact import Manifest, read_manifest
from langchain_vpp.errors import DataError, TrainingError
from tests.e2e.conftest import TINY
from trainer import Trainer, TrainerConfig, load_dataset
from trainer.data.contamination import (
    TRAINING_PICTURES,
    check_unseen,
    note_training_pictures,
    training_digest,
)
from trainer.sandbox.chat_model import SandboxChatModel
from trainer.sandbox.drawing.scenes import make_data

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.data.dataset import Dataset

_SPLITS = {"train": range(4), "val": range(4, 6), "test": range(6, 9)}


def draw(folder: Path, splits: dict[str, range]) -> Dataset:
    """Pictures by number, so that data sets can share some; each has a colour of its own."""
    folder.mkdir()
    lines = []
    for split, numbers in splits.items():
        for number in numbers:
            Image.new("RGB", (16, 16), (number, 0, 0)).save(folder / f"{number}.png")
            task = {"question": "Which?", "answer": "ab"[number % 2], "choices": ["a", "b"]}
            private = {"kind": "xy"[number % 2]}
            lines.append({"image": f"{number}.png", "split": split, "tasks": [task], "private": private})
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return load_dataset(folder)


def manifest(dataset: Dataset, training: str) -> Manifest:
    return Manifest(
        protector={}, private_attributes={}, questions=(), trained_against="m", access="labels", queries=0,
        steps=0, seed=0, data_digest=dataset.digest, training_digest=training, created_with="test",
    )  # fmt: skip


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    return draw(tmp_path / "data", _SPLITS)


@pytest.fixture
def run(tmp_path, dataset) -> tuple[Path, Manifest]:
    """The folder of a run on the data set's training split, and its manifest."""
    folder = tmp_path / "run"
    folder.mkdir()
    return folder, manifest(dataset, note_training_pictures(folder, dataset.picture_digests("train")))


def test_the_digest_is_that_of_the_sorted_digests_of_the_files(dataset):
    digests = sorted(
        hashlib.sha256((dataset.folder / f"{number}.png").read_bytes()).hexdigest() for number in range(4)
    )
    assert dataset.picture_digests("train") == set(digests)
    assert (
        training_digest(digests[::-1])
        == hashlib.sha256("".join(f"{d}\n" for d in digests).encode()).hexdigest()
    )


def test_neither_order_nor_names_matter_and_one_other_picture_does(tmp_path, dataset):
    renamed = draw(tmp_path / "same", _SPLITS | {"train": range(3, -1, -1)})
    other = draw(tmp_path / "other", _SPLITS | {"train": range(1, 4)})
    digests = [training_digest(each.picture_digests("train")) for each in (dataset, renamed, other)]
    assert digests[0] == digests[1] != digests[2]


def test_the_split_that_an_artifact_was_trained_on_is_refused(tmp_path, run):
    swapped = draw(tmp_path / "swapped", {"train": range(10, 14), "val": range(14, 16), "test": range(4)})
    for folder in (run[0], tmp_path):  # with the run's own list of pictures and without
        with pytest.raises(
            DataError, match="trained on the pictures of this data set's test split"
        ) as caught:
            check_unseen(folder, run[1], swapped)
        assert caught.value.__context__ is None


def test_one_picture_of_the_training_is_refused_in_the_folder_of_the_run(tmp_path, run):
    mixed = draw(tmp_path / "mixed", {"train": range(10, 14), "val": range(14, 16), "test": range(3, 9)})
    with pytest.raises(DataError, match="trained on 1 of the 6 pictures"):
        check_unseen(run[0], run[1], mixed)


def test_where_it_cannot_be_told_there_is_a_warning(tmp_path, run):
    mixed = draw(tmp_path / "mixed", {"train": range(10, 14), "val": range(14, 16), "test": range(3, 9)})
    assert "can't be told" in check_unseen(tmp_path, run[1], mixed)


def test_the_training_data_set_and_one_without_a_common_picture_are_clean(tmp_path, dataset, run):
    assert (
        check_unseen(tmp_path, run[1], dataset) is None
    )  # the artifact alone: its training split is at hand
    assert check_unseen(run[0], run[1], dataset) is None
    apart = draw(tmp_path / "apart", {"train": range(10, 14), "val": range(14, 16), "test": range(16, 20)})
    assert check_unseen(run[0], run[1], apart) is None


def test_a_test_split_that_was_not_loaded_from_a_file_is_compared_with_the_training_split(
    tmp_path, dataset, run
):
    leaky = [
        each.model_copy(update={"split": "test"}) if each.image == "0.png" else each
        for each in dataset.examples
    ]
    leaky.append(dataset.examples[0])
    both = type(dataset)(dataset.folder, tuple(leaky), "digest")
    with pytest.raises(DataError, match="trained on 1 of the 4 pictures"):
        check_unseen(tmp_path, run[1], both)


def test_an_artifact_of_an_earlier_version_is_clean_on_its_own_data_set_only(tmp_path, dataset):
    old = manifest(dataset, "")
    assert check_unseen(tmp_path, old, dataset) is None
    other = draw(tmp_path / "other", {"train": range(10, 14), "val": range(14, 16), "test": range(16, 20)})
    assert "can't be told" in check_unseen(tmp_path, old, other)


@pytest.mark.parametrize("change", [lambda text: text[:-65], lambda text: text + "x\n", lambda _: ""])
def test_a_list_that_is_not_the_manifests_is_refused(dataset, run, change):
    path = run[0] / TRAINING_PICTURES
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match="not the file that the manifest describes"):
        check_unseen(run[0], run[1], dataset)


def test_a_picture_that_cannot_be_read_is_named(dataset, run):
    (dataset.folder / "7.png").unlink()
    with pytest.raises(DataError, match=r"7\.png can't be used"):
        check_unseen(run[0], run[1], dataset)


def test_a_list_that_cannot_be_written_ends_the_run(tmp_path):
    with pytest.raises(TrainingError, match="was not written") as caught:
        note_training_pictures(tmp_path / "missing", ["0" * 64])
    assert caught.value.__context__ is None


@pytest.mark.trains
def test_training_notes_its_pictures_and_the_artifact_names_none(tmp_path):
    make_data(tmp_path / "data", train=40, val=10, test=10, seed=0)
    dataset = load_dataset(tmp_path / "data")
    config = TrainerConfig.model_validate(TINY | {"steps": 2, "max_queries": 0, "estimator": "none"})
    out = Trainer(SandboxChatModel(), dataset, config).fit(tmp_path / "run")
    made, _ = read_manifest(out)
    digests = dataset.picture_digests("train")
    assert made.training_digest == training_digest(digests)
    text = (out / "manifest.json").read_text()
    assert not any(digest in text for digest in digests)
    assert set((out / TRAINING_PICTURES).read_text().split()) == digests
    assert check_unseen(out, made, dataset) is None
