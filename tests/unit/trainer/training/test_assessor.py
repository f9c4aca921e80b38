import math

import pytest
import torch

from langchain_vpp.network.protector import Protector, ProtectorConfig
from trainer.training.assessor import Assessor, as_assessed, privacy_loss


def test_without_the_pull_privacy_loss_is_zero_at_uniform_and_one_at_certainty_whatever_the_number_of_classes():
    infinite = -math.inf
    uniform = torch.tensor([[[0.0, 0.0, infinite], [1.0, 1.0, 1.0]]])
    certain = torch.tensor([[[90.0, 0.0, infinite], [0.0, 90.0, 0.0]]])
    assert float(privacy_loss(uniform, pull=0)) == pytest.approx(0.0, abs=1e-6)
    assert float(privacy_loss(certain, pull=0)) == pytest.approx(1.0, abs=1e-6)


def test_the_pull_vanishes_at_uniform_and_has_a_gradient_where_the_entropy_has_none():
    assert float(privacy_loss(torch.zeros(1, 1, 4))) == pytest.approx(0.0, abs=1e-6)
    strength = {}
    for pull in (0.0, 0.1):
        certain = torch.tensor([[[60.0, 0.0]]], requires_grad=True)
        privacy_loss(certain, pull=pull).sum().backward()
        strength[pull] = float(certain.grad.abs().max())
    assert strength[0.0] < 1e-6
    assert strength[0.1] > 0.01


def test_privacy_loss_gradients_are_finite_with_masked_classes():
    logits = torch.randn(2, 2, 3).index_fill(2, torch.tensor([2]), -math.inf).requires_grad_()
    privacy_loss(logits).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_the_assessor_ignores_missing_labels_and_offers_only_an_attributes_classes():
    torch.manual_seed(0)
    assessor = Assessor({"glasses": ("no", "yes"), "hair": ("black", "blond", "red")})
    images, level = torch.rand(4, 3, 16, 16), torch.rand(4)
    logits = assessor(images, level)
    assert logits.shape == (4, 2, 3)
    assert torch.isneginf(logits[:, 0, 2]).all()
    labels = torch.tensor([[0, -1], [1, -1], [-1, 2], [-1, 0]])
    assert torch.isfinite(assessor.loss(images, level, labels))


@pytest.mark.trains
def test_it_learns_what_it_is_shown():
    torch.manual_seed(0)
    assessor = Assessor({"glasses": ("no", "yes")}, learning_rate=3e-3)
    optimizer = torch.optim.AdamW(assessor.parameters(), lr=assessor.learning_rate)
    labels = torch.arange(8)[:, None] % 2
    images = labels[:, :, None, None].float().expand(8, 3, 32, 32) * 0.8 + 0.1
    losses = [float(assessor.learn(optimizer, images, torch.zeros(8), labels)) for _ in range(30)]
    assert losses[-1] < losses[0] / 4


class _Grey(Protector):
    def at_network_level(self, images, level):
        return torch.full_like(images, 0.5)


@pytest.mark.parametrize("originals", [0.0, 0.5, 1.0])
def test_it_is_shown_protected_pictures_as_they_arrive_and_some_originals(originals):
    images = torch.nn.functional.interpolate(torch.rand(64, 3, 4, 6), (32, 48), mode="bilinear")
    protector = _Grey(ProtectorConfig(width=8, blocks=(1, 1, 1)))
    shown = as_assessed(
        protector, images, torch.ones(64), originals=originals, generator=torch.Generator().manual_seed(1)
    )
    from_original = (shown - images).abs().mean(dim=(1, 2, 3))
    from_grey = (shown - 0.5).abs().mean(dim=(1, 2, 3))
    left = from_original < from_grey
    assert float(left.float().mean()) == pytest.approx(originals, abs=0.15)
    assert torch.where(left, from_original, from_grey).max() < 0.04  # what the encoder loses
    assert torch.equal((shown * 255).round() / 255, shown)
