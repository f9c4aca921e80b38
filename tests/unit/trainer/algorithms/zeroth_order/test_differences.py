"""What all zeroth-order estimators share."""

from __future__ import annotations

import pytest
import torch

from tests.unit.trainer.algorithms.zeroth_order.linear_model import (
    BATCH,
    REFERENCES,
    SPACE,
    estimate,
    generator,
    linear_answers,
    pictures,
    slopes,
)
from trainer.algorithms.interface import Probes, Records
from trainer.algorithms.zeroth_order import (
    BlockCode,
    CriticalGradients,
    OperatorCode,
    PerImageDifferences,
    RGFSettings,
    SharedRGF,
    SharedSPSA,
    SPSASettings,
)
from trainer.algorithms.zeroth_order.differences import draw_pairs


@pytest.mark.parametrize(
    "build",
    [
        lambda: PerImageDifferences(SPACE, BlockCode(8)),
        lambda: SharedSPSA(SPACE, OperatorCode(8), SPSASettings(batch=BATCH, directions=2)),
        lambda: SharedRGF(SPACE, OperatorCode(8), RGFSettings(batch=BATCH, directions=2)),
    ],
)
def test_half_a_pair_says_nothing_and_a_whole_one_beside_it_counts(build):
    images, gradients = pictures(), slopes()
    estimator = build()
    probes = estimator.propose(images, REFERENCES, 12, generator=generator())
    known = probes.tags % 2 == 0
    halves = Probes(*(column[known] for column in probes))
    estimator.observe(linear_answers(halves, gradients, images), halves)
    loss = estimator.loss(images, REFERENCES, generator=generator())
    assert loss.tolist() == [1.0] * BATCH
    probes = estimator.propose(images, REFERENCES, 12, generator=generator())
    known = (probes.tags % 2 == 0) | (probes.tags == 1)
    some = Probes(*(column[known] for column in probes))
    estimator.observe(linear_answers(some, gradients, images), some)
    variable = images.clone().requires_grad_()
    estimator.loss(variable, REFERENCES, generator=generator()).sum().backward()
    assert bool(torch.isfinite(variable.grad).all())
    assert float(variable.grad.abs().max()) > 0


@pytest.mark.parametrize(
    "build",
    [
        lambda: PerImageDifferences(SPACE, BlockCode(8)),
        lambda: SharedSPSA(SPACE, OperatorCode(8), SPSASettings(batch=BATCH)),
        lambda: SharedRGF(SPACE, OperatorCode(8), RGFSettings(batch=BATCH)),
    ],
)
def test_a_restored_estimator_goes_on_like_the_one_saved(build, tmp_path):
    images, gradients = pictures(), slopes()
    saved, restored = build(), build()
    for turn in range(3):
        estimate(saved, 48, seed=turn, gradients=gradients, images=images)
    torch.save(saved.state_dict(), tmp_path / "state.pt")
    restored.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True), lambda: None)
    for turn in range(3, 6):
        quota = 0 if turn == 3 else 48
        pair = [
            estimate(each, quota, seed=turn, gradients=gradients, images=images) for each in (saved, restored)
        ]
        assert torch.equal(*pair)
        assert saved.fit(generator=generator()) == restored.fit(generator=generator())


def test_pairs_take_every_image_once_before_any_twice_and_only_what_is_asked():
    pairs = draw_pairs(REFERENCES, 99, generator=generator())
    assert sorted(map(tuple, pairs.tolist())) == [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1)]
    assert sorted(pairs[:3, 0].tolist()) == [0, 1, 2]
    assert len(draw_pairs(REFERENCES, 2, generator=generator())) == 2
    assert not len(draw_pairs(torch.full((2, 2), -1), 5, generator=generator()))


@pytest.mark.parametrize(
    "build",
    [
        lambda: PerImageDifferences(SPACE, BlockCode(), radius=0),
        lambda: SharedSPSA(SPACE, BlockCode(), SPSASettings(batch=2, momentum=1)),
        lambda: SharedSPSA(SPACE, BlockCode(), SPSASettings(batch=2, gain=0)),
        lambda: SharedRGF(SPACE, BlockCode(), RGFSettings(batch=2, directions=0)),
        lambda: CriticalGradients(decay=0),
    ],
)
def test_settings_that_make_no_sense_are_refused(build):
    with pytest.raises(ValueError, match="must be"):
        build()


def test_answers_without_a_proposal_are_refused():
    empty = torch.zeros(0, dtype=torch.long)
    probes = Probes(torch.zeros(0, 3, 16, 16), empty, empty, empty)
    for estimator in (
        PerImageDifferences(SPACE, BlockCode()),
        SharedRGF(SPACE, BlockCode(), RGFSettings(batch=2)),
    ):
        with pytest.raises(ValueError, match="nothing was proposed"):
            estimator.observe(Records(probes.images, empty, torch.zeros(0, 3)), probes)
