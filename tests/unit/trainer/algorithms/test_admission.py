"""Needs that are found from answers, the choice of queries, and the exact front."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch

from trainer.algorithms.admission import (
    MOST_KINDS,
    NeedsPosterior,
    Offer,
    Probe,
    exact_front,
    informative_probes,
    subset_sums,
    uniform_probes,
)

KINDS = 6
EVERY = 2**KINDS - 1


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def learned(right, *, pictures=4, answers=40, absent=0) -> NeedsPosterior:
    """A belief after answers of a chat model that says the truth; `right(picture, seen)` says whether it can."""
    posterior = NeedsPosterior(KINDS)
    asked: set[Probe] = set()
    while len(asked) < answers:
        probes = informative_probes(
            [posterior], [absent] * pictures, [range(pictures)], asked, generator=generator()
        )
        for probe in probes:
            posterior.observe(probe.picture, probe.seen, float(right(probe.picture, probe.seen)))
            asked.add(probe)
        if not probes:
            break
    return posterior


@pytest.mark.parametrize("needed", [0b1, 0b100100, 0b111])
def test_kinds_that_a_question_needs_are_found(needed):
    posterior = learned(lambda _, seen: seen & needed == needed)
    assert posterior.needs == needed
    assert not posterior.is_hopeless
    chance = posterior.chance()
    assert float(chance[needed]) > 0.9
    assert float(chance[EVERY & ~needed]) < 0.2


def test_a_question_that_is_always_answered_right_needs_nothing():
    posterior = learned(lambda *_: True)
    assert (posterior.needs, posterior.is_hopeless) == (0, False)
    assert float(posterior.chance().min()) > 0.9


def test_a_question_that_no_kind_answers_needs_nothing_and_is_hopeless():
    posterior = learned(lambda *_: False)
    assert (posterior.needs, posterior.is_hopeless) == (0, True)
    assert float(posterior.chance()[EVERY]) < 0.1


def test_pictures_that_need_different_kinds_are_told_apart():
    needs = (0b1, 0b10, 0b1, 0b10)
    posterior = learned(lambda picture, seen: seen & needs[picture] == needs[picture], answers=60)
    for picture, needed in enumerate(needs):
        chance = posterior.chance(picture)
        assert float(chance[needed]) > 0.8
        assert float(chance[EVERY & ~needed]) < 0.4
    unknown = posterior.chance()
    assert 0.3 < float(unknown[0b1]) < 0.7
    assert float(unknown[0b11]) > 0.8


def test_one_wrong_answer_among_many_does_not_change_what_is_needed():
    posterior = NeedsPosterior(KINDS)
    for picture in range(20):
        posterior.observe(picture, 0b1, float(picture != 3))
        posterior.observe(picture, EVERY & ~0b1, 0.0)
    assert posterior.needs == 0b1


def test_the_evidence_is_the_product_of_two_beta_functions():
    posterior = NeedsPosterior(1, longest=1)
    for right in (1.0, 1.0, 0.0):
        posterior.observe(0, 1, right)
    posterior.observe(0, 0, 0.0)

    def beta(a, b):
        return math.gamma(a) * math.gamma(b) / math.gamma(a + b)

    met, unmet = (4.0, 0.5), (0.5, 2.0)
    nothing = 0.15 * beta(met[0] + 2, met[1] + 2) / beta(*met)
    kind = 0.4 * beta(met[0] + 2, met[1] + 1) / beta(*met) * beta(unmet[0], unmet[1] + 1) / beta(*unmet)
    never = 0.05 * beta(unmet[0] + 2, unmet[1] + 2) / beta(*unmet)
    posterior.chance()
    expected = torch.tensor([nothing, kind, never], dtype=torch.float64)
    torch.testing.assert_close(posterior._pooled, expected / expected.sum())


def test_information_is_highest_where_the_belief_is_split():
    posterior = NeedsPosterior(2, longest=1)
    for _ in range(5):
        posterior.observe(0, 0b11, 1.0)
        posterior.observe(0, 0b00, 0.0)
    told = posterior.information(0)
    assert told.min() > -1e-12
    assert set(told.argsort(descending=True)[:2].tolist()) == {0b01, 0b10}
    assert told[0b01] > 5 * told[0b11]


def test_queries_never_cover_what_a_picture_lacks_and_are_asked_once():
    asked: set[Probe] = set()
    absent = [0b1, 0b110]
    posteriors = [NeedsPosterior(3) for _ in range(2)]
    for draw in range(40):
        kwargs = {"generator": generator(draw)}
        found = informative_probes(posteriors, absent, [(0, 1), (1,)], asked, **kwargs)
        found += uniform_probes(absent, [(0, 1), (1,)], asked | set(found), kinds=3, **kwargs)
        assert asked.isdisjoint(found)
        assert len(set(found)) == len(found)
        for probe in found:
            assert probe.seen & absent[probe.picture] == absent[probe.picture]
            assert (probe.question, probe.picture) != (1, 0)
        asked.update(found)
    # Two pictures for the first question with four and two sets, one for the second.
    assert len(asked) == 4 + 2 + 2


def test_the_front_is_that_of_all_sets():
    utility = torch.rand(2**KINDS, generator=generator(3), dtype=torch.float64)
    prices = [0.5, 1.0, 1.5, 2.0, 2.5, 4.0]
    front = exact_front(utility, prices)
    points = {
        kinds: (sum(price for bit, price in enumerate(prices) if kinds >> bit & 1), float(utility[kinds]))
        for kinds in range(2**KINDS)
    }
    unbeaten = {
        point
        for point in points.values()
        if not any(
            other != point and other[0] <= point[0] and other[1] >= point[1] for other in points.values()
        )
    }
    found = [(offer.price, offer.utility) for offer in front]
    assert found == [(price, pytest.approx(score)) for price, score in sorted(unbeaten)]
    assert all(points[offer.kinds][0] == offer.price for offer in front)


def test_a_dearer_set_that_gains_little_is_left_out():
    utility = torch.tensor([0.1, 0.105, 0.5, 0.9])
    assert [offer.kinds for offer in exact_front(utility, [1.0, 2.0])] == [0, 1, 2, 3]
    assert exact_front(utility, [1.0, 2.0], least_gain=0.01)[1] == Offer(2, 2.0, 0.5)


def test_subset_sums_add_up_every_subset():
    table = torch.rand(2**4, generator=generator())
    for kinds, found in enumerate(subset_sums(table)):
        bits = [bit for bit in range(4) if kinds >> bit & 1]
        subsets = [sum(1 << bit for bit in each) for size in range(5) for each in combinations(bits, size)]
        torch.testing.assert_close(found, table[subsets].sum())


def test_wrong_numbers_are_refused():
    for kinds in (0, MOST_KINDS + 1):
        with pytest.raises(ValueError, match="from 1 to 20"):
            NeedsPosterior(kinds)
    for prices in ([-1.0], [1.0, 1.0]):
        with pytest.raises(ValueError, match="prices of at least 0"):
            exact_front(torch.tensor([0.0, 1.0]), prices)
