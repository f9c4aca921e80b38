"""Training on videos: whom it refuses, what it costs, and which frames an artifact's domain is fitted to."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from langchain_vpp.errors import DataError, TrainingError
from tests.films import gray_film
from tests.unit.trainer.training.small_run import small_config
from trainer import Trainer, load_dataset
from trainer.algorithms.augmentation import augment, coarsen
from trainer.data.checks import require_pictures
from trainer.sandbox.chat_model import SandboxChatModel
from trainer.training.cost import estimate
from trainer.training.domain import _pictures


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    lines = []
    for number in range(12):
        (folder / f"{number}.mp4").write_bytes(gray_film(30 + number, (16, 16)))
        lines.append(
            {
                "video": f"{number}.mp4",
                "split": ("train", "val", "test")[number % 3],
                "tasks": [{"question": "Up?", "answer": "yes", "choices": ["yes", "no"]}],
                "private": {"gender": ("f", "m")[number // 3 % 2]},
            }
        )
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return load_dataset(folder)


@pytest.mark.parametrize("estimator", ["zo-image", "spsa-gc"])
def test_an_estimator_of_single_pictures_is_refused(dataset, estimator):
    with pytest.raises(
        TrainingError, match=r"the data set has videos; nothing was sent\. Choose one of student"
    ):
        Trainer(SandboxChatModel.model_construct(), dataset, small_config(estimator=estimator))


def test_learners_of_words_refuse_videos(dataset):
    with pytest.raises(DataError, match="reading words takes pictures"):
        require_pictures(dataset, "reading words")


def test_every_frame_is_paid(dataset):
    config = small_config(max_queries=20)
    clips = estimate(config, dataset, "openai:gpt-4o-mini")
    assert clips.basis.startswith("4 times ")
    tokens = int(clips.basis.split()[2])
    assert clips.input_tokens > 4 * tokens * clips.requests > 0


def test_a_domain_is_fitted_to_a_few_frames_of_every_clip(dataset):
    shown = [float(np.asarray(picture).mean()) for picture in _pictures(dataset, "train")]
    assert len(shown) == 8
    assert len({round(each) for each in shown}) > 4  # from all places


def test_frames_of_a_clip_are_augmented_alike():
    clips = torch.rand(2, 1, 3, 16, 16).expand(-1, 4, -1, -1, -1)
    generator = torch.Generator().manual_seed(0)
    for changed in (augment(clips, noise=0.0, generator=generator), coarsen(clips, generator=generator)):
        assert changed.shape == clips.shape
        assert torch.equal(changed[:, 1:], changed[:, :1].expand(-1, 3, -1, -1, -1))
    alone = augment(clips[:, 0], noise=0.0, generator=torch.Generator().manual_seed(3))
    together = augment(clips, noise=0.0, generator=torch.Generator().manual_seed(3))
    assert torch.equal(together[:, 0], alone)
