r"""Learned admission: which kinds of regions a picture must show so that a chat model answers the user's questions.

A query shows some kinds of regions, covers all others, and asks one question. Each question is believed to need a
conjunction of up to three kinds: its answers are right with one unknown probability where all of them are seen, and
with another one where not. Sets of kinds are whole numbers whose bit :math:`i` stands for kind :math:`i`.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING, Final, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

MOST_KINDS: Final = 20
"""Most kinds: tables over all sets of them have a million entries then."""
_PRIOR: Final = (0.15, 0.4, 0.25, 0.15)
"""Prior weight of needing no kind, one, two and three; the rest is that no set of kinds helps."""
_MET: Final = (4.0, 0.5)
"""Beta prior of a right answer where everything is seen that the question needs."""
_UNMET: Final = (0.5, 2.0)
"""Beta prior of a right answer where something is missing."""
_ALPHA: Final = 0.5
"""Weight of the prior among the pictures, as a number of pictures: small, because pictures mostly need the same."""
_ITERATIONS: Final = 10
_PICTURES: Final = 4
"""Pictures of a question that are looked at for the next query."""
_NEARLY: Final = 0.5
"""Information of a query, as a part of the most informative one's, from which it is asked at the same time."""
_TRIES: Final = 1000
"""Draws of a query before all count as asked."""


class NeedsPosterior:
    r"""Belief about which kinds one question needs, on each picture.

    Two models are weighed by their evidence. In the first, all pictures need the same conjunction :math:`c`. With
    :math:`n_c^{\pm}` right and wrong answers where it was met, and :math:`m_c^{\pm}` where not,

    .. math:: p(c \mid D) \propto p(c)\, \frac{B(a + n_c^+, b + n_c^-)}{B(a, b)}\,
        \frac{B(a' + m_c^+, b' + m_c^-)}{B(a', b')}

    In the second, pictures differ: a sender may be a person or a company. Each picture :math:`p` has a conjunction of
    its own, drawn from weights :math:`\pi` that the pictures share, and :math:`h` and :math:`m` are the chances of a
    right answer where it is met and where not; iterated are

    .. math:: w_p(c) \propto \pi(c) \prod_{i \in D_p} P(y_i \mid c, h, m), \qquad
        \pi(c) \propto \alpha\, p(c) + \sum_p w_p(c)

    Args:
        kinds: Number of kinds, 1 to :data:`MOST_KINDS`.
        longest: Most kinds that a question needs together.

    Raises:
        ValueError: If the number of kinds is out of range.
    """

    def __init__(self, kinds: int, *, longest: int = 3) -> None:
        if not 1 <= kinds <= MOST_KINDS:
            raise ValueError(f"the number of kinds must be from 1 to {MOST_KINDS}")
        self.kinds = kinds
        sets, weights = _conjunctions(kinds, longest)
        self._needs = torch.tensor(sets)
        """Hypotheses; the last one, that no set of kinds helps, has a bit that is never set."""
        self._prior = torch.tensor(weights, dtype=torch.float64)
        self._rows: dict[int, int] = {}
        self._counts = torch.zeros(0, 4, len(sets), dtype=torch.float64)
        """Right and wrong answers where each hypothesis was met, and where not, for each picture."""
        self._is_fitted = False
        self._told: dict[int | None, Tensor] = {}
        """Information about each picture that was asked about, and about all others."""

    def observe(self, picture: int, seen: int, right: float) -> None:
        """Take in an answer.

        Args:
            picture: Number of the picture.
            seen: Kinds that were not covered: shown, or absent from the picture.
            right: Score of the answer, in [0, 1].
        """
        row = self._rows.setdefault(picture, len(self._rows))
        if row == len(self._counts):
            self._counts = torch.cat((self._counts, self._counts.new_zeros(1, 4, len(self._needs))))
        met = ((self._needs & seen) == self._needs).double()
        outcome = torch.tensor([right, 1 - right], dtype=torch.float64)
        self._counts[row] += torch.cat((outcome[:, None] * met, outcome[:, None] * (1 - met)))
        self._is_fitted = False
        self._told.clear()

    @property
    def needs(self) -> int:
        """Kinds of the most probable hypothesis; none if no set of kinds helps."""
        best = self._most_probable
        return 0 if best == len(self._needs) - 1 else int(self._needs[best])

    @property
    def is_hopeless(self) -> bool:
        """Whether most probably no set of kinds lets the question be answered."""
        return self._most_probable == len(self._needs) - 1

    def chance(self, picture: int | None = None) -> Tensor:
        """Return the expected score of an answer for every set of kinds that are seen, shape ``[2 ** kinds]``.

        Args:
            picture: Number of the picture; ``None`` for one that was not asked about.
        """
        weights, met, unmet = self._beliefs(picture)
        return self._over_sets(weights * met, weights * unmet)

    def information(self, picture: int | None = None) -> Tensor:
        r"""Return what an answer is expected to tell, for every set of kinds that are seen.

        .. math:: I(S) = H\!\left(\sum_c w_c\, \theta_c(S)\right) - \sum_c w_c\, H(\theta_c(S))

        Args:
            picture: Number of the picture; ``None`` for one that was not asked about.

        Returns:
            Nats, shape ``[2 ** kinds]``; highest where the belief is split.
        """
        row = None if picture is None else self._rows.get(picture)
        if row not in self._told:
            weights, met, unmet = self._beliefs(picture)
            mixed = _entropy(self._over_sets(weights * met, weights * unmet))
            self._told[row] = mixed - self._over_sets(weights * _entropy(met), weights * _entropy(unmet))
        return self._told[row]

    @property
    def _most_probable(self) -> int:
        weights, _, _ = self._beliefs(None)
        return int(weights.sum(0).argmax())

    def _beliefs(self, picture: int | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weights of the hypotheses in both models, and the chances where they are met and not."""
        if not self._is_fitted:
            self._fit()
        row = None if picture is None else self._rows.get(picture)
        own = self._shared if row is None else self._own[row]
        weights = torch.stack((self._agreed * self._pooled, (1 - self._agreed) * own))
        return weights, self._met, self._unmet

    def _fit(self) -> None:
        """Fit both models, and weigh them."""
        self._is_fitted = True
        met, unmet = _share(_MET), _share(_UNMET)
        self._shared = self._prior
        for _ in range(_ITERATIONS):
            chances = torch.stack((met, 1 - met, unmet, 1 - unmet)).log()
            fits = torch.einsum("pnc,n->pc", self._counts, chances)
            self._own = (fits + self._shared.log()).softmax(1)
            shared = _ALPHA * self._prior + self._own.sum(0)
            self._shared = shared / shared.sum()
            expected = (self._counts * self._own[:, None]).sum((0, 2))
            met, unmet = _share(_MET, expected[:2]), _share(_UNMET, expected[2:])
        total = self._counts.sum(0)
        self._met = torch.stack((_share(_MET, total[:2]), met.expand(len(self._needs))))
        self._unmet = torch.stack((_share(_UNMET, total[2:]), unmet.expand(len(self._needs))))
        evidence = self._prior.log() + _evidence(total) + math.lgamma(max(1, len(self._own)))
        self._pooled = evidence.softmax(0)
        self._agreed = (evidence.logsumexp(0) - self._evidence_of_differing()).sigmoid()

    def _evidence_of_differing(self) -> Tensor:
        """Return the logarithm of how well pictures with needs of their own explain the answers.

        Each picture has its most probable hypothesis. Those with the same one form a cluster; partitions have the
        weights of a Chinese restaurant process, without the factor that the first model has too.
        """
        if not len(self._own):
            return torch.tensor(-math.inf, dtype=torch.float64)
        chosen = self._own.argmax(1)
        counts = self._counts[torch.arange(len(chosen)), :, chosen].sum(0)
        sizes = torch.bincount(chosen).double()
        clusters = sizes.nonzero()[:, 0]
        partition = (len(clusters) - 1) * math.log(_ALPHA) + sizes[clusters].lgamma().sum()
        evidence: Tensor = self._prior[clusters].log().sum() + partition + _evidence(counts)
        return evidence

    def _over_sets(self, met: Tensor, unmet: Tensor) -> Tensor:
        """Add up a value of each hypothesis in both models that depends on whether a set of kinds meets it."""
        table = torch.zeros(2**self.kinds, dtype=torch.float64)
        table.index_add_(0, self._needs[:-1], (met - unmet).sum(0)[:-1])
        return subset_sums(table) + unmet.sum()


class Probe(NamedTuple):
    """A query about a picture.

    Attributes:
        question: Index of the question.
        picture: Index of the picture.
        seen: Kinds that are not covered: shown, or absent from the picture.
    """

    question: int
    picture: int
    seen: int


def informative_probes(
    posteriors: Sequence[NeedsPosterior],
    absent: Sequence[int],
    pairs: Sequence[Sequence[int]],
    asked: set[Probe],
    *,
    generator: torch.Generator,
) -> list[Probe]:
    """Choose the next queries: one for each question whose belief is nearly as split as that of the most split one.

    Args:
        posteriors: Belief for each question.
        absent: Kinds that each picture does not have: a query can't cover them.
        pairs: Pictures that each question may be asked about.
        asked: Queries that were asked already.
        generator: Source of randomness, by which ties are broken.

    Returns:
        At most one probe for each question, the most informative first; empty if all were asked.
    """
    best: list[tuple[float, Probe]] = []
    for question, (posterior, pictures) in enumerate(zip(posteriors, pairs, strict=True)):
        order = torch.randperm(len(pictures), generator=generator).tolist()
        found = []
        for picture in (pictures[place] for place in order[:_PICTURES]):
            told = posterior.information(picture)
            told = told + 1e-9 * torch.rand(len(told), dtype=told.dtype, generator=generator)
            found.append(_best(told, question, picture, absent[picture], asked))
        best.append(max((each for each in found if each is not None), default=(-1.0, Probe(question, -1, 0))))
    most = max((told for told, _ in best), default=-1.0)
    if most < 0:
        return []
    ranked = sorted((each for each in best if each[0] >= _NEARLY * most), key=lambda each: -each[0])
    return [probe for _, probe in ranked]


def _best(
    told: Tensor, question: int, picture: int, absent: int, asked: set[Probe]
) -> tuple[float, Probe] | None:
    """Return the most informative query about a picture that was not asked yet."""
    seen = torch.arange(len(told))
    reachable = told.masked_fill((seen & absent) != absent, -1.0)
    for _ in range(len(told)):
        probe = Probe(question, picture, int(reachable.argmax()))
        value = float(reachable[probe.seen])
        if value < 0:
            break
        if probe not in asked:
            return value, probe
        reachable[probe.seen] = -1.0
    return None


def uniform_probes(
    absent: Sequence[int],
    pairs: Sequence[Sequence[int]],
    asked: set[Probe],
    *,
    kinds: int,
    generator: torch.Generator,
) -> list[Probe]:
    """Choose the next query at random, the baseline of :func:`informative_probes`, whose arguments it takes."""

    def draw(below: int) -> int:
        return int(torch.randint(below, (1,), generator=generator))

    for _ in range(_TRIES):
        question = draw(len(pairs))
        if not pairs[question]:
            continue
        picture = pairs[question][draw(len(pairs[question]))]
        probe = Probe(question, picture, draw(2**kinds) | absent[picture])
        if probe not in asked:
            return [probe]
    return []


class Offer(NamedTuple):
    """A point of the front.

    Attributes:
        kinds: Kinds that are shown.
        price: Sum of their prices.
        utility: Expected score of the answers.
    """

    kinds: int
    price: float
    utility: float


def exact_front(utility: Tensor, prices: Sequence[float], *, least_gain: float = 0.0) -> list[Offer]:
    """Find the sets of kinds that no other set beats in price and utility, by looking at all of them.

    Args:
        utility: Expected score for every set, shape ``[2 ** len(prices)]``.
        prices: Privacy price of showing each kind, at least 0.
        least_gain: Gain in utility up to which a dearer set is left out.

    Returns:
        Offers by rising price and utility, from the cheapest set on.

    Raises:
        ValueError: If a price is negative, or the shapes differ.

    Example:
        >>> [offer.kinds for offer in exact_front(torch.tensor([0.1, 0.1, 0.5, 0.9]), [1.0, 2.0])]
        [0, 2, 3]
    """
    if len(utility) != 2 ** len(prices) or min(prices) < 0:
        raise ValueError("the utility of every set and prices of at least 0 are needed")
    totals = torch.zeros(1, dtype=torch.float64)
    for price in prices:
        totals = torch.cat((totals, totals + price))
    # By price, then by falling utility: sort by the second key first, and keep its order in the second sort.
    order = utility.argsort(descending=True, stable=True)
    order = order[totals[order].argsort(stable=True)]
    front: list[Offer] = []
    best = utility[order].cummax(0).values
    rising = torch.cat((torch.tensor([True]), best[1:] > best[:-1]))
    for kinds in order[rising].tolist():
        if not front or float(utility[kinds]) > front[-1].utility + least_gain:
            front.append(Offer(kinds, float(totals[kinds]), round(float(utility[kinds]), 12)))
    return front


def subset_sums(table: Tensor) -> Tensor:
    """Sum a table over the subsets of every set (the zeta transform), in ``n * 2 ** n`` additions.

    Args:
        table: A value for each set, shape ``[2 ** n]``.

    Example:
        >>> subset_sums(torch.tensor([1.0, 2.0, 4.0, 8.0]))
        tensor([ 1.,  3.,  5., 15.])
    """
    sums = table.clone()
    for bit in range(len(table).bit_length() - 1):
        halves = sums.view(-1, 2, 2**bit)
        halves[:, 1] += halves[:, 0]
    return sums


def _conjunctions(kinds: int, longest: int) -> tuple[list[int], list[float]]:
    """List the sets of up to so many kinds, and one that is never met, with their prior weights."""
    sets, weights = [], []
    for size in range(min(longest, kinds) + 1):
        of_size = [sum(1 << kind for kind in chosen) for chosen in combinations(range(kinds), size)]
        sets += of_size
        weights += [_PRIOR[min(size, len(_PRIOR) - 1)] / len(of_size)] * len(of_size)
    return [*sets, 1 << kinds], [*weights, 1 - sum(_PRIOR)]


def _share(prior: tuple[float, float], counts: Tensor | None = None) -> Tensor:
    """Return the expected chance of a right answer, from a Beta prior and right and wrong answers, ``[2, ...]``."""
    right, wrong = prior if counts is None else (counts[0] + prior[0], counts[1] + prior[1])
    return torch.as_tensor(right / (right + wrong), dtype=torch.float64)


def _evidence(counts: Tensor) -> Tensor:
    """Return the logarithm of the probability of answers, with both chances integrated out; counts are ``[4, ...]``."""
    return _log_beta_ratio(_MET, counts[:2]) + _log_beta_ratio(_UNMET, counts[2:])


def _log_beta_ratio(prior: tuple[float, float], counts: Tensor) -> Tensor:
    right, wrong = counts[0] + prior[0], counts[1] + prior[1]
    before = math.lgamma(prior[0]) + math.lgamma(prior[1]) - math.lgamma(sum(prior))
    return right.lgamma() + wrong.lgamma() - (right + wrong).lgamma() - before


def _entropy(probability: Tensor) -> Tensor:
    p = probability.clamp(1e-12, 1 - 1e-12)
    return -(p * p.log() + (1 - p) * (1 - p).log())
