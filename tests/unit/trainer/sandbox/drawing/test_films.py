"""Drawn films: reproducible, one person throughout, and an action that only the order of frames tells."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trainer.data.dataset import load_dataset
from trainer.sandbox.drawing.films import (
    ACTION,
    FILM_ATTRIBUTES,
    FILM_RATE,
    FILM_SECONDS,
    draw_film,
    make_films,
)


def pixels(frames) -> np.ndarray:
    return np.stack([np.asarray(frame) for frame in frames]).astype(int)


def test_the_same_seed_draws_the_same_film_at_any_rate():
    slow, labels = draw_film(np.random.default_rng(1), rate=1)
    fast, same = draw_film(np.random.default_rng(1))
    assert labels == same
    assert len(slow) == FILM_SECONDS
    assert np.array_equal(pixels(slow), pixels(fast[::FILM_RATE]))
    assert set(labels) == {*FILM_ATTRIBUTES, "action"}


@pytest.mark.parametrize("action", ACTION.choices)
def test_something_moves_unless_the_person_stands_still(action):
    drawn = (draw_film(np.random.default_rng((2, number)), rate=1) for number in range(200))
    frames = next(frames for frames, labels in drawn if labels["action"] == action)
    changed = np.abs(np.diff(pixels(frames), axis=0)).max() > 40
    assert changed == (action != "standing still")


def test_made_films_are_a_data_set(tmp_path):
    make_films(tmp_path / "films", train=8, val=4, test=4, seed=0)
    dataset = load_dataset(tmp_path / "films", needs_attributes=False)
    assert [len(dataset.split(split)) for split in ("train", "val", "test")] == [8, 4, 4]
    drawn, labels = draw_film(np.random.default_rng((0, 0, 0)), rate=1)
    example = dataset.examples[0]
    assert example.private == {name: labels[name] for name in FILM_ATTRIBUTES}
    assert (example.tasks[0].answer, example.tasks[0].choices) == (labels["action"], ACTION.choices)
    assert np.abs(pixels(dataset.open_frames(example)) - pixels(drawn)).mean() < 8
    assert json.loads((tmp_path / "films" / "data.jsonl").read_text().splitlines()[0])["may_be_shown"]
