"""Pictures as attackers receive them: protected, through the encoder, other training rows at every condition."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from PIL import Image

from langchain_vpp.images.codec import encode_image
from tests.unit.trainer.evaluation.squares import Grey, quick_settings
from trainer.data.dataset import Dataset
from trainer.data.format import Example, Task
from trainer.data.wire import as_tensor
from trainer.evaluation.conditions import Conditions
from trainer.evaluation.pictures import Pictures
from trainer.evaluation.splits import checked_splits


@pytest.fixture
def workers():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_only_protected_pictures_arrive_and_those_that_are_asked_about_are_kept(dataset, workers) -> None:
    settings = quick_settings(levels=(0.2, 0.5), train_images=30, original_images=40)
    conditions = Conditions.of(Grey(), settings)
    pictures = Pictures(checked_splits(dataset), settings, 32)
    weak, strong = (pictures.under(each, {3, 7}, workers) for each in conditions.points)
    originals = pictures.under(conditions.originals, (), workers)
    assert [len(each.images) for each in weak.data] == [30, 48, 100]
    assert [len(each.images) for each in originals.data] == [40, 48, 100]
    grey = torch.full((3, 32, 32), 128)
    assert all((images - grey).abs().max() <= 1 for part in weak.data for images in part.images.int())
    assert weak.sent == dict.fromkeys((3, 7), encode_image(Image.new("RGB", (32, 32), (128,) * 3)))
    assert originals.sent == {}
    assert not torch.equal(weak.data.train.labels, strong.data.train.labels)
    assert torch.equal(weak.data.test.labels, originals.data.test.labels)


def test_pairs_show_the_same_rows_under_every_condition(dataset, workers) -> None:
    settings = quick_settings(train_images=30)
    conditions = Conditions.of(Grey(), settings)
    pictures = Pictures(checked_splits(dataset), settings, 32)
    original, protected = (
        pictures.paired(each, workers) for each in (conditions.originals, *conditions.points)
    )
    assert torch.equal(original.labels, protected.labels)
    assert len(pictures.paired_rows) == len(original.images) == 30


def test_smaller_pictures_lie_at_the_top_left_on_grey(tmp_path, workers) -> None:
    examples, task = [], Task(question="Which?", answer="this")
    for split in ("train", "val", "test"):
        for number, size in enumerate(((32, 16), (16, 32))):
            name = f"{split}{number}.png"
            Image.new("RGB", size, "white").save(tmp_path / name)
            examples.append(Example(image=name, split=split, tasks=(task,), private={"shape": "ab"[number]}))
    dataset = Dataset(tmp_path, tuple(examples), "digest")
    settings = quick_settings()
    pictures = Pictures(checked_splits(dataset), settings, 32)
    delivered = pictures.under(Conditions.of(Grey(), settings).originals, (), workers)
    wide, high = delivered.data.test.images
    assert wide.shape == high.shape == (3, 32, 32)
    assert torch.equal(wide[:, :16], as_tensor(Image.new("RGB", (32, 16), "white")))
    assert (wide[:, 16:] == 128).all()
    assert (high[:, :, 16:] == 128).all()
