"""Each estimator recovers the gradient of a loss that is linear in the picture."""

from __future__ import annotations

import math

import pytest
import torch

from trainer.algorithms.critical_history import Records
from trainer.algorithms.surrogate import AnswerSpace, Probes
from trainer.algorithms.zeroth_order import (
    BlockCode,
    CriticalGradients,
    OperatorCode,
    PerImageDifferences,
    SharedRGF,
    SharedSPSA,
    draw_pairs,
)
from trainer.runtime.precision import cpu_precision

SPACE = AnswerSpace(("a?", "b?"), ("no", "yes", "perhaps"), torch.tensor([[True] * 3, [True, True, False]]))
BATCH = 3
REFERENCES = torch.tensor([[0, 1], [2, -1], [1, 0]])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(side=16):
    """Away from the ends of the range, so that no probe is clamped."""
    return 0.4 + 0.2 * torch.rand(BATCH, 3, side, side, generator=generator(7))


def slopes(side=16):
    """Gradient of a linear loss for each question."""
    return torch.randn(2, 3, side, side, generator=generator(8)) / side**2


def linear_answers(probes, gradients, images):
    """A chat model whose answer to the reference has exactly the probability of a linear loss around 1/2."""
    sizes = SPACE.sizes[probes.questions]
    moved = probes.images - images[probes.rows]
    losses = 0.5 + (moved * gradients[probes.questions]).sum(dim=(1, 2, 3))
    targets = torch.zeros(len(losses), 3)
    chosen = REFERENCES[probes.rows, probes.questions]
    targets[torch.arange(len(losses)), chosen] = torch.exp(-losses * sizes.log())
    return Records((probes.images * 255).byte(), probes.questions, targets)


def mean_gradient(gradients, references=REFERENCES):
    """True gradient of the mean loss over images of the mean over their questions, per image."""
    asked = (references >= 0).float()
    weights = asked / asked.sum(dim=1, keepdim=True)
    return torch.einsum("bq,qchw->bchw", weights, gradients)


def projected(code, images, gradients):
    """Per image, the part of a gradient that lies in the code's span."""
    size = code.size(images)
    columns = torch.stack(
        [code.displacement(images, unit.expand(len(images), -1)) for unit in torch.eye(size)], dim=1
    )
    inner = torch.einsum("bdchw,bchw->bd", columns, gradients)
    return torch.einsum("bd,bdchw->bchw", inner, columns)


def estimate(estimator, quota, *, seed, gradients, images):
    """One round; the gradient of the batch's mean loss."""
    probes = estimator.propose(images, REFERENCES, quota, generator=generator(seed))
    assert len(probes.rows) <= quota
    if len(probes.rows):
        estimator.observe(linear_answers(probes, gradients, images), probes)
    variable = images.clone().requires_grad_()
    loss = estimator.loss(variable, REFERENCES, generator=generator()).mean()
    return torch.autograd.grad(loss, variable)[0] if loss.requires_grad else torch.zeros_like(images)


def assert_unbiased(draws, truth):
    """The mean of the draws has the truth's size along it, within four standard errors that a bias of 15 % exceeds."""
    along = torch.stack([(draw * truth).sum() / truth.square().sum() for draw in draws])
    error = float(along.std() / math.sqrt(len(along)))
    assert 4 * error < 0.15, "too few draws to see a bias"
    assert float(along.mean()) == pytest.approx(1, abs=4 * error)
    # And nothing across it: what remains is the draws' own spread.
    rest = torch.stack(draws).mean(dim=0) - truth
    expected = torch.stack(draws).var(dim=0).sum() / len(draws)
    assert float(rest.square().sum()) < 1.5 * float(expected)


@pytest.mark.parametrize("code", [BlockCode(8), OperatorCode(8)])
def test_a_codes_directions_are_orthonormal(code):
    images = pictures()
    size = code.size(images)
    columns = torch.stack([code.displacement(images[:1], unit[None]).flatten() for unit in torch.eye(size)])
    assert torch.allclose(columns @ columns.T, torch.eye(size), atol=1e-5)


def test_the_operators_do_what_they_are_called():
    images = pictures(8)
    amounts = torch.zeros(BATCH, 5)
    amounts[:, 3] = 0.1
    moved = images + OperatorCode(8).displacement(images, amounts)
    assert torch.allclose(moved.mean(dim=(2, 3)), images.mean(dim=(2, 3)), atol=1e-6)
    assert bool((moved.var(dim=(1, 2, 3)) > images.var(dim=(1, 2, 3))).all())
    amounts = torch.zeros(BATCH, 5)
    amounts[:, 4] = 0.5
    greyer = images + OperatorCode(8).displacement(images, amounts)
    assert bool((greyer.var(dim=1).mean(dim=(1, 2)) < images.var(dim=1).mean(dim=(1, 2))).all())


def test_a_flat_grey_picture_can_only_be_offset():
    flat = torch.full((1, 3, 8, 8), 0.5)
    amounts = torch.tensor([[0.0, 0.0, 0.0, 1.0, 1.0]])
    assert float(OperatorCode(8).displacement(flat, amounts).abs().max()) == 0


def test_a_code_refuses_sides_that_its_cells_do_not_divide():
    with pytest.raises(ValueError, match="do not divide"):
        BlockCode(7).size(pictures())


def test_a_probe_changes_a_pixel_by_the_radius_and_stays_in_range():
    images = pictures()
    probes = PerImageDifferences(SPACE, BlockCode(8), radius=0.03).propose(
        images, REFERENCES, 6, generator=generator()
    )
    moved = probes.images - images[probes.rows]
    assert moved.square().mean(dim=(1, 2, 3)).sqrt().tolist() == pytest.approx([0.03] * 6, rel=1e-4)
    assert torch.allclose(moved[0], -moved[1], atol=1e-6)
    white = torch.ones_like(images)
    probes = PerImageDifferences(SPACE, BlockCode(8)).propose(white, REFERENCES, 6, generator=generator())
    assert float(probes.images.max()) == 1


@pytest.mark.parametrize(
    ("code", "quota", "count"), [(BlockCode(8), 2, 1800), (OperatorCode(8), 6, 800), (BlockCode(8), 10, 800)]
)
def test_per_image_differences_recover_a_linear_gradient_in_expectation(code, quota, count):
    images, gradients = pictures(), slopes()
    truth = projected(code, images, mean_gradient(gradients)) / BATCH
    estimator = PerImageDifferences(SPACE, code, radius=0.02)
    draws = [
        estimate(estimator, quota, seed=seed, gradients=gradients, images=images) for seed in range(count)
    ]
    assert_unbiased(draws, truth)


@pytest.mark.parametrize("perturbation", ["rademacher", "segmented"])
def test_spsa_recovers_a_linear_gradient_in_expectation(perturbation):
    images, gradients, code = pictures(), slopes(), OperatorCode(8)
    draws = []
    for seed in range(800):
        estimator = SharedSPSA(
            SPACE, code, batch=BATCH, momentum=0.0, radius=0.02, directions=2, perturbation=perturbation
        )
        draws.append(estimate(estimator, 12, seed=seed, gradients=gradients, images=images))
    assert_unbiased(draws, shared_truth(code, images, gradients))


def test_rgf_recovers_a_linear_gradient_in_expectation_whatever_its_memory():
    images, gradients, code = pictures(), slopes(), OperatorCode(8)
    draws = []
    for seed in range(800):
        estimator = SharedRGF(SPACE, code, batch=BATCH, radius=0.02, directions=4, images=None)
        for turn in range(2):
            draw = estimate(estimator, 24, seed=2 * seed + turn, gradients=gradients, images=images)
        draws.append(draw)
    assert_unbiased(draws, shared_truth(code, images, gradients))


def shared_truth(code, images, gradients):
    """Every image moves along the mean over the images of the gradient on the code."""
    size = code.size(images)
    columns = torch.stack(
        [code.displacement(images, unit.expand(len(images), -1)) for unit in torch.eye(size)], dim=1
    )
    inner = torch.einsum("bdchw,bchw->d", columns, mean_gradient(gradients)) / BATCH
    return torch.einsum("d,bdchw->bchw", inner, columns) / BATCH


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_rgf_with_as_many_directions_as_the_code_is_exact_in_any_arithmetic(precision):
    images, code = pictures(8), OperatorCode(8)
    gradients = slopes(8)[:1].expand(2, -1, -1, -1)  # so that it does not matter which question is drawn
    estimator = SharedRGF(SPACE, code, batch=BATCH, radius=0.02, directions=5, images=None)
    truth = shared_truth(code, images, gradients)
    for turn in range(3):  # with an empty memory, then with critical directions in it
        with cpu_precision(precision):
            found = estimate(estimator, 30, seed=turn, gradients=gradients, images=images)
        assert float((found - truth).norm() / truth.norm()) < 1e-3


def test_rgf_is_exact_along_its_priors_and_scales_up_the_rest():
    images, code = pictures(), OperatorCode(8)
    gradients = slopes()[:1].expand(2, -1, -1, -1)
    estimator = SharedRGF(SPACE, code, batch=BATCH, radius=0.02, directions=6, images=None)
    for turn in range(4):
        found = estimate(estimator, 36, seed=turn, gradients=gradients, images=images)
    size, priors = code.size(images), estimator._priors
    assert priors == 3
    units = estimator._asked.directions / math.sqrt(size)
    assert torch.allclose(units @ units.T, torch.eye(6), atol=1e-5)
    columns = torch.stack([code.displacement(images, unit.expand(BATCH, -1)) for unit in units])
    slopes_along = torch.einsum("kbchw,bchw->k", columns, mean_gradient(gradients)) / BATCH
    weights = torch.tensor([1.0] * priors + [(size - priors) / (6 - priors)] * (6 - priors))
    expected = torch.einsum("k,kbchw->bchw", weights * slopes_along, columns) / BATCH
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_gradient_correction_is_the_published_recursion():
    code, images, gradients = OperatorCode(8), pictures(8), slopes(8)
    options = {"batch": BATCH, "directions": 1, "radius": 0.02, "radius_decay": 0.0, "gain_decay": 0.4}
    plain = SharedSPSA(SPACE, code, momentum=0.0, **options | {"gain_decay": 0.0})
    corrected = SharedSPSA(SPACE, code, momentum=0.9, **options)
    average = 0
    for turn in range(3):
        own = estimate(plain, 6, seed=turn, gradients=gradients, images=images)
        average = 0.9 * average + own
        expected = (2 / (turn + 2)) ** 0.4 * (own + 0.9 * average)
        found = estimate(corrected, 6, seed=turn, gradients=gradients, images=images)
        assert torch.allclose(found, expected, atol=1e-6)


def test_spsa_has_the_published_settings_and_shrinks_its_radius():
    images = pictures()
    estimator = SharedSPSA(SPACE, OperatorCode(8), batch=BATCH)
    assert estimator.min_queries == 2 * 5 * BATCH
    radii = []
    for turn in range(2):
        probes = estimator.propose(images, REFERENCES, 30, generator=generator(turn))
        moved = probes.images - images[probes.rows]
        radii.append(float(moved.square().mean().sqrt()))
        estimator.observe(linear_answers(probes, slopes(), images), probes)
    # Segmented uniform perturbations have a mean square of 7/12.
    assert radii[0] == pytest.approx(0.01 * math.sqrt(7 / 12), rel=0.05)
    assert radii[1] / radii[0] == pytest.approx(2**-0.1, rel=0.05)


def test_estimates_on_a_shared_code_wait_for_their_queries_and_are_held_between():
    images, gradients = pictures(), slopes()
    estimator = SharedRGF(SPACE, OperatorCode(8), batch=BATCH, directions=2, images=2)
    assert estimator.min_queries == 8
    assert float(estimate(estimator, 7, seed=0, gradients=gradients, images=images).abs().max()) == 0
    first = estimate(estimator, 8, seed=1, gradients=gradients, images=images)
    assert float(first.abs().max()) > 0
    assert torch.equal(estimate(estimator, 7, seed=2, gradients=gradients, images=images), first)


def test_images_that_were_not_asked_about_are_not_pulled():
    images, gradients = pictures(), slopes()
    estimator = PerImageDifferences(SPACE, BlockCode(8))
    found = estimate(estimator, 2, seed=0, gradients=gradients, images=images)
    assert int((found.abs().amax(dim=(1, 2, 3)) > 0).sum()) == 1
    assert float(estimate(estimator, 1, seed=0, gradients=gradients, images=images).abs().max()) == 0


@pytest.mark.parametrize(
    "build",
    [
        lambda: PerImageDifferences(SPACE, BlockCode(8)),
        lambda: SharedSPSA(SPACE, OperatorCode(8), batch=BATCH, directions=2),
        lambda: SharedRGF(SPACE, OperatorCode(8), batch=BATCH, directions=2),
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
        lambda: SharedSPSA(SPACE, OperatorCode(8), batch=BATCH),
        lambda: SharedRGF(SPACE, OperatorCode(8), batch=BATCH),
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


def test_critical_gradients_keep_the_largest_and_let_the_old_fade():
    memory = CriticalGradients(2, decay=0.5)
    for gradient in ([4.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.5]):
        memory.add(torch.tensor(gradient))
    # Priorities 1, 1.5 and 0.5.
    assert memory.directions(5).tolist() == [[0, 1, 0], [1, 0, 0]]
    memory.add(torch.tensor([0.0, 0.0, 0.6]))  # against 0.5 and 0.75
    assert memory.directions(1).tolist() == [[0, 1, 0]]
    assert memory.directions(5).tolist() == [[0, 1, 0], [0, 0, 1]]


def test_critical_directions_are_orthonormal_and_dependent_gradients_give_none():
    memory = CriticalGradients(4, decay=1.0)
    assert not len(memory.directions(3))
    for gradient in ([3.0, 0.0, 0.0], [2.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]):
        memory.add(torch.tensor(gradient))
    found = memory.directions(4)
    assert torch.allclose(found @ found.T, torch.eye(2), atol=1e-6)


@pytest.mark.parametrize(
    "build",
    [
        lambda: PerImageDifferences(SPACE, BlockCode(), radius=0),
        lambda: SharedSPSA(SPACE, BlockCode(), batch=2, momentum=1),
        lambda: SharedSPSA(SPACE, BlockCode(), batch=2, gain=0),
        lambda: SharedRGF(SPACE, BlockCode(), batch=2, directions=0),
        lambda: CriticalGradients(decay=0),
    ],
)
def test_settings_that_make_no_sense_are_refused(build):
    with pytest.raises(ValueError, match="must be"):
        build()


def test_answers_without_a_proposal_are_refused():
    empty = torch.zeros(0, dtype=torch.long)
    probes = Probes(torch.zeros(0, 3, 16, 16), empty, empty, empty)
    for estimator in (PerImageDifferences(SPACE, BlockCode()), SharedRGF(SPACE, BlockCode(), batch=2)):
        with pytest.raises(ValueError, match="nothing was proposed"):
            estimator.observe(Records(probes.images, empty, torch.zeros(0, 3)), probes)
