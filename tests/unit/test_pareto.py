import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.algorithms.pareto import hypervolume, non_dominated, sample_levels, spread_levels, weighted_sum

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
    objective = weighted_sum(utility, privacy, torch.tensor([0.0, 1.0]), least=0.1)
    assert objective.tolist() == pytest.approx([1.2, 3.0])


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
