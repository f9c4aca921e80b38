"""Hard examples: cards that count as mistakes, the cost of errors, and that they are learned."""

from __future__ import annotations

import copy

import pytest
import torch

from langchain_vpp.network.protector import Protector, ProtectorConfig
from tests.portraits import save_portraits
from trainer.recipes.staff_cards.drawn_cards import FIELD, LINES, OTHER, PRIVATE, draw_cards
from trainer.recipes.staff_cards.hard_examples import find_hard_examples, mask_error, train_on_hard_examples
from trainer.recipes.staff_cards.pretraining import ONE_GREY, paint_one_grey
from trainer.sandbox.drawing.cards import CARD_TASKS, TEXTS

_SMALL = ProtectorConfig(width=8, blocks=(1, 1, 1))
_OPEN, _CLOSED = 1.0, -0.2


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return save_portraits(tmp_path_factory.mktemp("faces"))


def _protector(openness):
    torch.manual_seed(0)
    protector = Protector(_SMALL)
    paint_one_grey(protector)
    with torch.no_grad():
        protector.head.weight[48:] = 0
        protector.head.bias[48:] = openness
    return protector.eval()


class _Drawing(Protector):
    """Opens its mask where the cards that it is shown have been drawn with certain numbers of lines."""

    def __init__(self, drawn, shown):
        super().__init__(_SMALL)
        self.drawn, self.shown, self.turn = drawn, shown, 0

    def at_network_level(self, images, level):
        rows = slice(self.turn, self.turn + len(images))
        self.turn += len(images)
        opened = torch.isin(self.drawn.lines[rows], self.shown)[:, None]
        return torch.where(opened, images, ONE_GREY / 255)


@pytest.mark.slow(seconds=5)
@pytest.mark.parametrize("shown", [(), ("id number",), ("expiry", "gate"), tuple(LINES[len(TEXTS) :])])
def test_a_mistake_is_a_private_line_that_is_shown_or_a_field_that_is_not(faces, shown):
    drawn = draw_cards(faces, 12, (5, 108), 0)
    numbers = torch.tensor([LINES.index(name) + 1 for name in shown])
    found = find_hard_examples(_Drawing(drawn, numbers), faces, cards=12, seed=5, workers=0)
    assert torch.equal(found.drawn.images, drawn.images)
    private = any(name in TEXTS for name in shown)
    assert len(found.showing) == (12 if private else 0)
    complete = set(shown) >= set(CARD_TASKS) - {"stripe"}
    assert len(found.hiding) == (0 if complete else 12)


def _error(mask, before, kind, level):
    images = torch.zeros(1, 3, 16, 16)
    kinds = torch.full((1, 1, 16, 16), kind, dtype=torch.uint8)
    openness = [torch.full((1, 1, 16, 16), each) for each in (mask, before)]
    return float(mask_error(*openness, images, kinds, torch.tensor([level])))


def test_a_field_is_to_be_shown_whatever_was_before():
    for before in (_OPEN, _CLOSED):
        assert _error(_OPEN, before, FIELD, 0.7) == 0
        assert _error(_CLOSED, before, FIELD, 0.7) > 0.4


def test_a_private_line_is_to_be_hidden_with_a_margin_from_the_level_of_grey_on():
    for before in (_OPEN, _CLOSED):
        assert _error(_CLOSED, before, PRIVATE, 0.7) == 0
        assert _error(-0.01, before, PRIVATE, 0.7) > 0
        assert _error(_OPEN, before, PRIVATE, 0.7) > 3 * 0.4
    assert _error(_OPEN, _OPEN, PRIVATE, 0.0) == 0
    assert 0 < _error(_OPEN, _OPEN, PRIVATE, 0.1) < _error(_OPEN, _OPEN, PRIVATE, 0.2)


def test_everything_else_is_to_stay_and_what_was_closed_gets_a_margin():
    assert _error(_OPEN, _OPEN, OTHER, 0.7) == 0
    assert _error(_CLOSED, _OPEN, OTHER, 0.7) > 0.4
    assert _error(_CLOSED, _CLOSED, OTHER, 0.7) == 0
    assert _error(-0.01, _CLOSED, OTHER, 0.7) > 0


@pytest.mark.trains
def test_it_learns_the_same_again_and_leaves_the_protector_as_it_was(faces):
    protector = _protector(1.0)
    before = copy.deepcopy(protector.state_dict())
    mistakes = find_hard_examples(protector, faces, cards=16, seed=0, workers=0)
    assert len(mistakes.showing) == 16
    learned = [train_on_hard_examples(protector, mistakes, steps=40, seed=0) for _ in range(2)]
    for name, value in protector.state_dict().items():
        assert torch.equal(value, before[name]), name
    for name, value in learned[0].state_dict().items():
        assert torch.equal(value, learned[1].state_dict()[name]), name
    images, level = mistakes.drawn.images[:8].float() / 255, torch.full((8,), 0.9)
    kinds = mistakes.drawn.regions[:8][:, None]
    with torch.no_grad():
        first = protector.openness(images, level)
        errors = [
            float(mask_error(each.openness(images, level), first, images, kinds, level))
            for each in (protector, learned[0])
        ]
    assert errors[1] < 0.9 * errors[0]


@pytest.mark.trains
def test_it_learns_without_a_mistake_too(faces):
    protector = _protector(-9.0)
    mistakes = find_hard_examples(protector, faces, cards=8, seed=0, workers=0)
    assert not len(mistakes.showing)
    train_on_hard_examples(protector, mistakes._replace(hiding=mistakes.showing), steps=1, seed=0)
