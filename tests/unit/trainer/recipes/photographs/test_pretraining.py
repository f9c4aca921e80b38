"""Lessons: scenes follow their marks, small faces count as much as large ones, and a run is resumed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from langchain_vpp.network.config import ProtectorConfig
from trainer.recipes.photographs.artifact import finish, split_held
from trainer.recipes.photographs.pretraining import Pretraining, lesson, pretrain
from trainer.recipes.photographs.regions import LEVELS, Region
from trainer.recipes.photographs.scenes import Scene, Taught, draw_scene
from trainer.runtime.checkpoint import save_state

CONFIG = ProtectorConfig(width=8, blocks=(1, 1, 1), working_resolution=32)


@pytest.fixture(scope="module")
def photographs():
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 255, (120, 160, 3), dtype=np.uint8)
    regions = np.zeros((120, 160), np.uint8)
    regions[40:60, 60:80] = Region.FACE | Region.HEAD
    return [Taught(pixels, regions)]


@pytest.fixture(scope="module")
def portraits():
    return [np.full((48, 48, 3), tone, np.uint8) for tone in (40, 220)]


def test_the_same_seed_draws_the_same_scene(photographs, portraits):
    one, other, third = (
        draw_scene(photographs, portraits, 64, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert (one.pixels == other.pixels).all()
    assert (one.regions == other.regions).all()
    assert one.pixels.shape == (64, 64, 3)
    assert (one.pixels != third.pixels).any()


def test_photographs_are_not_changed_by_what_is_pasted(photographs, portraits):
    before = photographs[0].pixels.copy(), photographs[0].regions.copy()
    for seed in range(20):
        draw_scene(photographs, portraits, 64, np.random.default_rng(seed))
    assert (photographs[0].pixels == before[0]).all()
    assert (photographs[0].regions == before[1]).all()


def test_pasted_faces_and_signs_are_marked(photographs, portraits):
    plain = [Taught(photographs[0].pixels, np.zeros((120, 160), np.uint8))]
    scenes = [draw_scene(plain, portraits, 64, np.random.default_rng(seed)) for seed in range(30)]
    assert any((scene.regions & Region.FACE).any() for scene in scenes)
    assert any((scene.regions & Region.TEXT).any() for scene in scenes)
    for scene in scenes:
        faces = (scene.regions & Region.FACE) > 0
        assert ((scene.regions[faces] & Region.HEAD) > 0).all()


def marked(*squares):
    regions = np.zeros((64, 64), np.uint8)
    for top, left, side in squares:
        regions[top : top + side, left : left + side] = Region.FACE
    return Scene(np.zeros((64, 64, 3), np.uint8), regions)


def test_small_faces_cost_as_much_as_large_ones_up_to_a_bound():
    taught = lesson([marked((4, 4, 14), (24, 24, 30))], np.random.default_rng(0))
    cost, mask = taught.cost[0, 0], taught.hidden[0, 0]
    small, large = cost[4:18, 4:18].sum(), cost[24:54, 24:54].sum()
    assert 0.9 < small / large < 1.1
    assert mask[10, 10] == 1
    assert mask[0, 0] == 0
    assert cost[0, 0] == 1


def test_lines_of_text_cost_alike_whatever_their_height():
    regions = np.zeros((64, 64), np.uint8)
    regions[4:9, 4:44] = Region.TEXT
    regions[20:40, 4:44] = Region.TEXT
    cost = lesson([Scene(np.zeros((64, 64, 3), np.uint8), regions)], np.random.default_rng(0)).cost[0, 0]
    assert abs(float(cost[4:9, 4:44].sum() / cost[20:40, 4:44].sum()) - 1) < 0.01
    assert cost[0, 0] == 1


def test_what_may_be_a_face_teaches_nothing_where_it_would_stay():
    regions = np.zeros((8, 8), np.uint8)
    regions[:4] = Region.UNSURE
    regions[:2] |= np.uint8(Region.PERSON)
    taught = lesson([Scene(np.zeros((8, 8, 3), np.uint8), regions)] * 40, np.random.default_rng(0))
    for level, hidden, cost in zip(taught.level, taught.hidden[:, 0], taught.cost[:, 0], strict=True):
        assert not hidden[2:].any()
        assert not cost[2:4].any()
        assert (cost[4:] == 1).all()
        assert cost[:2].any() == (level >= 0.75)


def test_surroundings_cost_half_where_they_are_to_vanish():
    regions = np.full((8, 8), Region.AROUND, np.uint8)
    taught = lesson([Scene(np.zeros((8, 8, 3), np.uint8), regions)] * 40, np.random.default_rng(0))
    assert set(taught.cost[taught.level == 1].unique().tolist()) == {0.5}
    assert set(taught.cost[taught.level < 1].unique().tolist()) == {1.0}


def test_a_lesson_hides_what_its_level_hides():
    regions = np.full((8, 8), Region.PERSON, np.uint8)
    scenes = [Scene(np.zeros((8, 8, 3), np.uint8), regions)] * 40
    taught = lesson(scenes, np.random.default_rng(0))
    assert set(taught.level.tolist()) == set(LEVELS)
    assert all((taught.hidden[taught.level >= 0.75] == 1).flatten())
    assert all((taught.hidden[taught.level < 0.75] == 0).flatten())


def test_every_fourth_photograph_is_held_back():
    learned, held = split_held(range(10))
    assert held == range(3, 10, 4)
    assert sorted([*learned, *held]) == list(range(10))


@pytest.mark.trains
@pytest.mark.slow(seconds=1)
def test_a_run_is_resumed_where_it_stopped(photographs, portraits, tmp_path, monkeypatch):
    class Stopped(Exception):  # noqa: N818  nothing went wrong
        pass

    def stop_at_the_end(state, path):
        save_state(state, path)
        raise Stopped

    settings = Pretraining(1, batch=2, side=32, rate=1e-3)
    whole = pretrain(photographs, portraits, CONFIG, settings, tmp_path / "one.pt").state_dict()
    monkeypatch.setattr("trainer.recipes.photographs.pretraining.save_state", stop_at_the_end)
    with pytest.raises(Stopped):
        pretrain(photographs, portraits, CONFIG, settings, tmp_path / "two.pt")
    again = pretrain(photographs, portraits, CONFIG, settings, tmp_path / "two.pt").state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


@pytest.mark.trains
def test_a_start_gives_its_features_and_not_its_last_convolution(photographs, portraits, tmp_path):
    settings = Pretraining(0, batch=2, side=32)
    start = pretrain(photographs, portraits, CONFIG, settings._replace(seed=5), tmp_path / "a.pt")
    taken = pretrain(photographs, portraits, CONFIG, settings, tmp_path / "b.pt", start=start)
    assert torch.equal(taken.stem.weight, start.stem.weight)
    assert not torch.equal(taken.head.weight, start.head.weight)


def test_a_finished_mask_is_all_or_nothing_and_its_cover_one_grey(photographs, portraits, tmp_path):
    protector = pretrain(photographs, portraits, CONFIG, Pretraining(0), tmp_path / "a.pt")
    with torch.no_grad():
        protector.head.bias[48:] = -3.0
    finish(protector, sharpness=4.0, threshold=0.0)
    images, level = torch.rand(1, 3, 32, 32), torch.tensor([0.5])
    with torch.no_grad():
        assert (protector(images, level) * 255).round().unique().tolist() == [128.0]
        protector.head.bias[48:] = 12.0
        assert torch.allclose(protector(images, level), images, atol=1e-6)
