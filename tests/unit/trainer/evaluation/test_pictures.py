"""Pictures as attackers receive them: protected, through the encoder, other training rows at every condition."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from langchain_vpp.images.codec import decode_image, encode_image
from tests.films import film
from tests.unit.trainer.evaluation.squares import Grey, quick_settings
from trainer.data.dataset import Dataset
from trainer.data.format import Example, Task
from trainer.data.wire import as_tensor
from trainer.evaluation.conditions import Conditions
from trainer.evaluation.pictures import Pictures, as_sent
from trainer.evaluation.splits import checked_splits
from trainer.oracle.clips import unpack


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


class _Wavering:
    """Covers the left half, but not of bright pictures."""

    def protect(self, image, level: float):
        shown = image.copy()
        if image.getpixel((image.width - 1, 0))[0] < 200:
            shown.paste((128, 128, 128), (0, 0, image.width // 2, image.height))
        return shown


@pytest.fixture
def clips(tmp_path) -> Dataset:
    examples, task = [], Task(question="Which?", answer="this")
    for split in ("train", "val", "test"):
        for number in range(2):
            frames = np.full((30, 32, 32, 3), 40 + 20 * number, np.uint8)
            frames[:, 8:24, 4:12] = (220, 30, 30)  # the same in every frame
            frames[10:20, :, 16:] = 250
            name = f"{split}{number}.mp4"
            (tmp_path / name).write_bytes(film(frames))
            private = {"shape": "ab"[number]}
            examples.append(Example(image=name, is_video=True, split=split, tasks=(task,), private=private))
    return Dataset(tmp_path, tuple(examples), "digest")


def test_frames_of_a_clip_arrive_together_as_the_runtime_sends_them(clips, workers) -> None:
    settings = quick_settings(levels=(0.5,), train_images=2, original_images=2)
    conditions = Conditions.of(_Wavering(), settings)
    pictures = Pictures(checked_splits(clips), settings, 32)
    delivered = pictures.under(conditions.points[0], {1}, workers)
    test = delivered.data.test.images
    assert test.shape == (2, 3, 3, 32, 32)
    sent = [as_tensor(decode_image(frame)) for frame in unpack(delivered.sent[1])]
    assert torch.equal(torch.stack(sent), test[1])
    # The frame that the engine misses is covered by its neighbours.
    assert (test[:, 1, 0, 10:22, 5:11].float() < 160).all()
    alone = _Wavering().protect(clips.open_frames(clips.split("test")[1])[1], 0.5)
    assert as_tensor(alone)[0, 10:22, 5:11].float().min() > 180


def test_clips_as_they_are_keep_their_frames(clips) -> None:
    example = clips.split("test")[0]
    sent = unpack(as_sent(clips, example, None, 0.0))
    assert sent == tuple(encode_image(frame) for frame in clips.open_frames(example))
