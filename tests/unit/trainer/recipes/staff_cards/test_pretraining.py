"""Pretraining on drawings: kinds of regions, wanted pictures, and that they are learned."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from PIL import Image

from langchain_vpp.network.protector import Protector, ProtectorConfig
from tests.portraits import save_portraits
from trainer.recipes.staff_cards.drawn_cards import FIELD, OTHER, PRIVATE, draw_regions
from trainer.recipes.staff_cards.pretraining import (
    ONE_GREY,
    paint_one_grey,
    pretrain_protector,
    private_weight,
    regional_error,
    wanted_images,
)
from trainer.sandbox.drawing.cards import CARD_TASKS, TEXTS, draw_card

_SMALL = ProtectorConfig(width=8, blocks=(1, 1, 1))


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return save_portraits(tmp_path_factory.mktemp("faces"))


@pytest.mark.slow(seconds=1)
def test_a_region_is_where_the_card_says_that_something_stands():
    for number in range(20):
        face = Image.new("RGB", (64, 64), (226, 24, 250))
        labels = {"gender": "female", "age_group": "30-39", "race": "White"}
        card = draw_card(np.random.default_rng((3, number)), face, labels)
        regions = draw_regions(card)
        assert regions.shape == (224, 320)
        for name, kind in (*((task, FIELD) for task in CARD_TASKS), *((text, PRIVATE) for text in TEXTS)):
            x, y = np.mean(card.outline(name), axis=0).round().astype(int)
            assert regions[y, x] == kind, name
        pixels = torch.from_numpy(np.array(card.image)).int()
        magenta = (pixels[..., 0] > 150) & (pixels[..., 1] < 100) & (pixels[..., 2] > 150)
        assert (regions[magenta] == PRIVATE).float().mean() > 0.9
        assert (regions == OTHER).float().mean() > 0.4


def test_fields_stay_and_the_rest_is_the_greyer_the_higher_the_level():
    images = torch.zeros(3, 3, 8, 8)
    regions = torch.zeros(3, 8, 8, dtype=torch.uint8)
    regions[:, :4], regions[:, 4:6] = FIELD, PRIVATE
    wanted = wanted_images(images, torch.tensor([0.0, 0.1, 0.9]), regions)
    assert torch.equal(wanted[:, :, :4], images[:, :, :4])
    assert wanted[:, :, 4:].amax(dim=(1, 2, 3)).tolist() == pytest.approx([0.0, 0.2, 0.5])


def test_the_weight_of_private_lines_rises_once_they_can_be_told_apart():
    assert [private_weight(done) for done in (0.0, 0.3, 0.5, 0.7, 1.0)] == pytest.approx([1, 1, 2, 3, 3])


def test_a_private_line_costs_more_than_a_field_of_the_same_size_and_no_more_for_a_large_desk():
    regions = torch.full((1, 16, 16), OTHER, dtype=torch.uint8)
    regions[:, :2], regions[:, 2:4] = FIELD, PRIVATE
    wanted = torch.zeros(1, 3, 16, 16)
    costs = {}
    for kind in (OTHER, FIELD, PRIVATE):
        wrong = torch.where((regions == kind)[:, None], 1.0, wanted)
        costs[kind] = float(regional_error(wrong, wanted, regions, 4.0))
    assert costs[PRIVATE] == 4 * costs[FIELD] == 4 * costs[OTHER] > 0


def test_what_is_not_kept_becomes_one_grey_and_what_is_kept_stays():
    torch.manual_seed(0)
    protector, images, levels = Protector(_SMALL), torch.rand(2, 3, 32, 32), torch.tensor([0.2, 0.9])
    mask = protector.head.bias.detach()[48:]
    shown = {}
    with torch.no_grad():
        protector.head.weight.normal_(std=0.2)
        for name, bias in (("closed", -50.0), ("open", 50.0)):
            mask.fill_(bias)
            before = protector(images, levels)
            changed = copy.deepcopy(protector)
            paint_one_grey(changed)
            shown[name] = (before, changed(images, levels))
    assert shown["closed"][0].std() > 0.01
    assert (255 * shown["closed"][1] - ONE_GREY).abs().max() < 1e-3
    assert torch.equal(*shown["open"])
    assert torch.equal(shown["open"][1], images)


@pytest.mark.trains
def test_it_learns_and_goes_on_where_it_was_stopped(faces, tmp_path, monkeypatch):
    whole = pretrain_protector(
        faces, _SMALL, cards=8, steps=4, seed=0, checkpoint=tmp_path / "a" / "checkpoint.pt", workers=0
    )
    monkeypatch.setattr("trainer.recipes.staff_cards.pretraining._CHECKPOINT_EVERY", 2)
    path = tmp_path / "b" / "checkpoint.pt"
    monkeypatch.setattr("trainer.recipes.staff_cards.pretraining.sample_levels", _interrupted_after(2))
    with pytest.raises(KeyboardInterrupt):
        pretrain_protector(faces, _SMALL, cards=8, steps=4, seed=0, checkpoint=path, workers=0)
    assert torch.load(path, weights_only=True)["step"] == 2
    monkeypatch.setattr("trainer.recipes.staff_cards.pretraining.sample_levels", _interrupted_after(99))
    resumed = pretrain_protector(faces, _SMALL, cards=8, steps=4, seed=0, checkpoint=path, workers=0)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    assert not resumed.training


def _interrupted_after(calls):
    from trainer.algorithms.pareto import sample_levels

    left = iter(range(calls))

    def sample(*arguments, **options):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return sample_levels(*arguments, **options)

    return sample
