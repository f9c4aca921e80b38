"""Ways to look at a clip, and that each of them finds what another one misses."""

from __future__ import annotations

import pytest
import torch

from trainer.attackers.classifier import AttackData, AttackImages, FreshClassifier
from trainer.attackers.frames import VIEWED, looked_at, surest


def _clip(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.uint8).reshape(1, -1, 1, 1, 1).expand(-1, -1, 3, 8, 8)


@pytest.mark.parametrize(("view", "value"), [("one", 30), ("mean", 27), ("median", 20), ("weakest", 30)])
def test_a_clip_is_looked_at_as_a_picture(view, value):
    seen = looked_at(_clip(20, 10, 30, 70, 5), view, learning=True)
    assert seen.shape == (1, 3, 8, 8)
    assert (seen == value).all()


def test_all_frames_and_the_weakest_are_looked_at_one_by_one():
    clip = _clip(20, 10, 30)
    assert all(looked_at(clip, view) is clip for view in ("all", "weakest"))
    picture = clip[:, 0]
    assert all(looked_at(picture, view, learning=True) is picture for view in VIEWED)


def test_noise_that_is_new_in_each_frame_goes_away_in_the_mean_and_the_median():
    generator = torch.Generator().manual_seed(0)
    secret = torch.randint(60, 190, (1, 1, 3, 16, 16), generator=generator).float()
    noise = 40 * torch.randn(1, 32, 3, 16, 16, generator=generator)
    clip = (secret + noise).clamp(0, 255).to(torch.uint8)
    errors = {
        view: float((looked_at(clip, view).float() - secret[0]).square().mean())
        for view in ("one", "mean", "median")
    }
    assert errors["mean"] < errors["one"] / 10
    assert errors["median"] < errors["one"] / 10


def test_the_surest_frame_is_read():
    logits = torch.tensor([[[0.0, 1.0], [5.0, 0.0], [0.0, 2.0]], [[0.0, 3.0], [1.0, 0.0], [0.5, 0.0]]])
    assert surest(logits).tolist() == [[5.0, 0.0], [0.0, 3.0]]


@pytest.mark.trains
def test_what_one_of_many_frames_shows_is_read_in_the_weakest():
    """A frame at either end shows the class, and the others nothing."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (96, 1), generator=generator)
    shown = torch.full((96, 3, 16, 16), 60, dtype=torch.uint8) + 130 * labels[:, :, None, None].to(
        torch.uint8
    )
    blank = torch.full((96, 7, 3, 16, 16), 128, dtype=torch.uint8)
    attacker = FreshClassifier({"class": ("a", "b")}, frames="weakest", warm_epochs=15)
    learned = AttackImages(torch.cat([blank[:, :4], shown[:, None], blank[:, 4:]], dim=1), labels)
    read = AttackImages(torch.cat([shown[:, None], blank], dim=1), labels)
    scores = attacker.prepare(AttackData(learned, learned, read), generator=generator)
    assert float((scores.predictions == labels).float().mean()) > 0.9
