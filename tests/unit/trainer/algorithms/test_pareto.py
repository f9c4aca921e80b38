import functools
import itertools
import math
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_vpp.errors import TrainingError
from trainer.algorithms.pareto import (
    NonDominatedArchive,
    aggregate_gradients,
    by_preference,
    hypervolume,
    non_dominated,
    sample_levels,
    smooth_tchebycheff,
    spread_levels,
    weighted_sum,
)

unit = st.floats(0, 1, allow_nan=False)
points = st.lists(st.tuples(unit, unit), max_size=8)


def test_hypervolume_of_known_fronts():
    assert hypervolume([]) == 0
    assert hypervolume([(0.0, 1.0)]) == 1
    assert hypervolume([(1.0, 1.0)]) == 0  # the original: all leaked
    assert hypervolume([(0.0, 0.0)]) == 0  # a grey image: no use
    assert hypervolume([(0.25, 0.5), (0.5, 1.0)]) == pytest.approx(0.625)
    assert hypervolume([(0.2, 0.5)], reference=(0.6, 0.1)) == pytest.approx(0.16)


@settings(max_examples=50, deadline=None)
@given(points)
def test_hypervolume_equals_the_area_counted_on_a_grid(points):
    steps = [(index + 0.5) / 64 for index in range(64)]
    covered = sum(
        any(leak <= x and utility >= y for leak, utility in points)
        for x, y in itertools.product(steps, steps)
    )
    assert hypervolume(points) == pytest.approx(covered / 64**2, abs=2 / 64)


@given(points, st.tuples(unit, unit))
def test_a_further_point_never_lowers_the_hypervolume(points, extra):
    assert hypervolume([*points, extra]) >= hypervolume(points) - 1e-12


@given(points)
def test_no_point_of_the_front_dominates_another(points):
    front = non_dominated(points)
    for (leak, utility), (other_leak, other_utility) in itertools.permutations(front, 2):
        assert not (other_leak <= leak and other_utility >= utility)
    assert all(any(a <= leak and b >= utility for a, b in front) for leak, utility in points)


def test_levels_cover_every_stratum_once():
    levels = sample_levels(16, generator=torch.Generator().manual_seed(0))
    assert sorted((levels * 16).long().tolist()) == list(range(16))
    assert levels.tolist() != sorted(levels.tolist())


def test_weighted_sum_ends_at_privacy_alone_and_never_forgets_it():
    utility, privacy = torch.tensor([1.0, 1.0]), torch.tensor([3.0, 3.0])
    objective = weighted_sum(utility, privacy, torch.tensor([0.0, 1.0]), min_weight=0.1)
    assert objective.tolist() == pytest.approx([1.2, 3.0])


def descend(objective, level):
    """Minimise over an angle on the unit quarter circle, a front that bulges away from the ideal point."""
    angle = torch.tensor([0.6], requires_grad=True)
    for _ in range(400):
        loss = objective(angle.cos(), angle.sin(), torch.tensor([level]), min_weight=0.0).sum()
        (gradient,) = torch.autograd.grad(loss, angle)
        with torch.no_grad():
            angle = (angle - 0.05 * gradient).clamp(0, math.pi / 2).requires_grad_()
    return angle.item()


@pytest.mark.slow(seconds=0.13)
@pytest.mark.parametrize("level", [0.35, 0.5, 0.65])
def test_smooth_tchebycheff_reaches_a_concave_front_where_the_weighted_sum_falls_to_an_end(level):
    balance = math.atan((1 - level) / level)  # where both weighted losses are equal
    sharp = functools.partial(smooth_tchebycheff, smoothing=0.02)
    assert descend(sharp, level) == pytest.approx(balance, abs=0.1)
    assert descend(weighted_sum, level) in (pytest.approx(0), pytest.approx(math.pi / 2))


@given(unit, unit, unit, st.floats(0.01, 1))
def test_smooth_tchebycheff_stays_within_its_smoothing_of_the_worst_weighted_loss(
    utility, privacy, level, mu
):
    losses = torch.tensor([utility]), torch.tensor([privacy])
    worst = float(torch.stack(by_preference(*losses, torch.tensor([level]))).max())
    smooth = float(smooth_tchebycheff(*losses, torch.tensor([level]), smoothing=mu))
    assert worst - 1e-5 <= smooth <= worst + mu * math.log(2) + 1e-5


def test_smooth_tchebycheff_measures_from_the_ideal_point():
    losses = torch.tensor([0.9]), torch.tensor([0.6])
    moved = smooth_tchebycheff(*losses, torch.tensor([0.5]), ideal=(0.4, 0.1))
    assert moved == pytest.approx(smooth_tchebycheff(losses[0] - 0.4, losses[1] - 0.1, torch.tensor([0.5])))
    assert float(moved) == pytest.approx(0.1 * math.log(math.exp(2.45) + math.exp(2.55)))


def test_smooth_tchebycheff_follows_the_preference_of_each_image():
    losses = torch.full((2,), 0.5, requires_grad=True), torch.full((2,), 0.5, requires_grad=True)
    smooth_tchebycheff(*losses, torch.tensor([0.2, 0.8])).sum().backward()
    assert losses[0].grad[0] > losses[0].grad[1]
    assert losses[1].grad[0] < losses[1].grad[1]


def test_smooth_tchebycheff_needs_some_smoothing():
    one = torch.ones(1)
    with pytest.raises(ValueError, match="positive"):
        smooth_tchebycheff(one, one, one, smoothing=0)


coordinate = st.floats(-2, 2, allow_nan=False, width=32)
vector = st.tuples(coordinate, coordinate, coordinate)


def quadratics(start, minima):
    """Parameters at ``start`` and the losses ``|x - a|^2 / 2``, whose gradients are ``x - a``."""
    parameter = torch.tensor(start, requires_grad=True)
    centres = torch.tensor(minima)
    return parameter, [(parameter - centre).square().sum() / 2 for centre in centres], parameter - centres


@settings(max_examples=60, deadline=None)
@given(vector, st.tuples(vector, vector))
def test_mgda_is_the_shortest_vector_between_two_gradients_and_descends_both(start, minima):
    parameter, losses, gradients = quadratics(start, minima)
    weights = aggregate_gradients(losses, [parameter], "mgda")
    first, second = gradients.detach().double()
    gap = (first - second).square().sum()
    share = ((second @ (second - first)) / gap).clamp(0, 1) if gap > 0 else torch.tensor(0.5).double()
    shortest = share * first + (1 - share) * second
    assert torch.allclose(parameter.grad.double(), shortest, atol=1e-2)
    assert float(weights.sum()) == pytest.approx(1, abs=1e-5)
    progress = gradients.detach() @ parameter.grad
    assert bool((progress >= parameter.grad.square().sum() - 2e-2).all())


def test_mgda_stands_still_where_no_direction_helps_both():
    parameter, losses, _ = quadratics((0.5, 0.0), ((0.0, 0.0), (2.0, 0.0)))
    aggregate_gradients(losses, [parameter], "mgda")
    assert parameter.grad.norm() < 1e-3


def test_upgrad_without_a_conflict_is_the_gradient_of_the_weighted_sum():
    level, parameter = torch.tensor([0.2, 0.7]), torch.tensor([1.0, 2.0], requires_grad=True)
    utility, privacy = parameter.square().sum().expand(2), (parameter**4).sum().expand(2)
    parts = [part.mean() for part in by_preference(utility, privacy, level)]
    (expected,) = torch.autograd.grad(
        weighted_sum(utility, privacy, level).mean(), parameter, retain_graph=True
    )
    weights = aggregate_gradients(parts, [parameter], "upgrad")
    assert torch.allclose(parameter.grad, expected, rtol=1e-3)
    assert weights.tolist() == pytest.approx([1, 1])


def test_upgrad_raises_no_objective_where_their_sum_would():
    parameter, losses, gradients = quadratics((0.0, 0.0), ((-4.0, 0.0), (1.0, -1.0)))
    assert (gradients @ gradients.sum(dim=0)).min() < 0
    aggregate_gradients(losses, [parameter], "upgrad")
    assert (gradients @ parameter.grad).min() > -1e-2
    assert parameter.grad.norm() > 0.1


@pytest.mark.parametrize("method", ["mgda", "upgrad"])
@pytest.mark.trains
def test_aggregation_reaches_a_point_between_two_minima_and_leaves_no_trace(method):
    parameter = torch.tensor([3.0, 2.0], requires_grad=True)
    other = torch.ones(1, requires_grad=True)  # nothing depends on it
    optimizer = torch.optim.SGD([parameter, other], lr=0.2)
    for _ in range(60):  # a gradient that added up instead would overshoot
        losses = [(parameter - torch.tensor(centre)).square().sum() for centre in ((0.0, 0.0), (1.0, 0.0))]
        aggregate_gradients(losses, [parameter, other], method)
        optimizer.step()
    reached = parameter.detach()
    assert -0.05 <= reached[0] <= 1.05
    assert abs(reached[1]) < 0.05
    assert other.item() == 1
    assert not hasattr(parameter, "jac")


def test_aggregation_without_torchjd_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchjd.aggregation", None)
    parameter, losses, _ = quadratics((0.0, 0.0), ((1.0, 0.0), (0.0, 1.0)))
    parameter.grad = torch.ones(2)
    with pytest.raises(TrainingError, match=r"langchain-vpp\[pareto\]") as caught:
        aggregate_gradients(losses, [parameter], "upgrad")
    assert caught.value.__context__ is None
    assert parameter.grad.tolist() == [1, 1]


few = st.sampled_from([index / 4 for index in range(5)])  # so that coordinates are often equal


@given(st.lists(st.one_of(st.tuples(few, few), st.tuples(unit, unit)), max_size=10))
def test_archive_holds_what_no_other_point_beats(points):
    archive = NonDominatedArchive()
    for index, (leak, utility) in enumerate(points):
        archive.add(leak, utility, index)
    unbeaten = {
        (leak, utility)
        for leak, utility in points
        if not any(a <= leak and b >= utility and (a, b) != (leak, utility) for a, b in points)
    }
    assert [(point.leak, point.utility) for point in archive.points] == sorted(unbeaten)
    for point in archive.points:
        assert point.payload == points.index((point.leak, point.utility))  # of equal points the first
    kept = [(point.leak, point.utility) for point in archive.points]
    assert hypervolume(kept) == pytest.approx(hypervolume(points))


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=8))
def test_hypervolume_equals_the_cells_counted(points):
    cells = itertools.product(range(12), range(12))
    covered = sum(any(leak <= x and utility > y for leak, utility in points) for x, y in cells)
    scaled = [(leak / 12, utility / 12) for leak, utility in points]
    assert hypervolume(scaled) == pytest.approx(covered / 144)


def test_archive_says_whether_a_point_was_kept():
    archive = NonDominatedArchive()
    assert archive.add(0.5, 0.5, "a")
    assert not archive.add(0.5, 0.5, "b")
    assert not archive.add(0.6, 0.5, "c")
    assert archive.add(0.4, 0.6, "d")
    assert [point.payload for point in archive.points] == ["d"]


@pytest.mark.parametrize("point", [(math.nan, 0.5), (0.5, math.inf)])
def test_archive_refuses_what_is_no_number(point):
    with pytest.raises(ValueError, match="finite"):
        NonDominatedArchive().add(*point, None)


def test_equal_steps_of_user_level_become_equal_steps_of_leak():
    levels = [index / 10 for index in range(11)]
    leaks = [1 - level**0.5 for level in levels]  # falls steeply at first
    knots = spread_levels(levels, leaks, 5)
    assert knots[0] == 0
    assert knots[-1] == 1
    reached = [1 - knot**0.5 for knot in knots]
    steps = [high - low for high, low in itertools.pairwise(reached)]
    assert max(steps) - min(steps) < 0.1
    assert list(knots) == sorted(knots)


@given(st.lists(unit, min_size=2, max_size=12), st.integers(2, 9))
def test_knots_ascend_for_any_measured_leak(leaks, count):
    levels = [index / (len(leaks) - 1) for index in range(len(leaks))]
    knots = spread_levels(levels, leaks, count)
    assert len(knots) == count
    assert list(knots) == sorted(knots)
    assert (knots[0], knots[-1]) == (0, 1)


def test_spread_levels_refuses_what_it_cannot_spread():
    with pytest.raises(ValueError, match="leak for each"):
        spread_levels([0.0, 1.0], [1.0], 3)
