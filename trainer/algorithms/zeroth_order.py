r"""Utility gradients from differences of answers alone: alternatives to the student, kept to be measured against it.

All of them ask about pairs of pictures :math:`x \pm s\,Q(x)u` and read a slope off the two answers,

.. math:: D_u = \frac{\ell(x + s Q u) - \ell(x - s Q u)}{2s} \approx u^\top Q^\top \nabla_x \ell ,

with the loss of an answer from :func:`~trainer.algorithms.surrogate.answer_loss` and an orthonormal frame
:math:`Q(x)` of few columns, the *code*: :class:`BlockCode` or :class:`OperatorCode`. An estimate :math:`\hat g` of the
gradient on the code becomes the picture gradient :math:`Q \hat g`, which estimates the projection of
:math:`\nabla_x \ell` on the code's span, and ``loss`` is the linear function of the picture that has this gradient and
the measured loss as its value.

==============================  =====================================  ======================================
estimator                       code                                   directions
==============================  =====================================  ======================================
:class:`PerImageDifferences`    one per image                          one at random per picture and question
:class:`SharedSPSA`             one displacement for the whole batch   a few at random, averaged; with or
                                                                       without momentum and look-ahead
                                                                       (SPSA-GC)
:class:`SharedRGF`              one displacement for the whole batch   the largest past estimates, then
                                                                       random ones orthogonal to them
==============================  =====================================  ======================================

The step size, which the sources fold into the update of the code, is the protector's optimizer's here: the code is
what carries the estimate to the protector, not what is learned. Where a step asks nothing, estimates on a shared code
are held (a step of the protector is cheap, a query is not), and images not asked about have a gradient of zero.
Products are written as sums: matrix products may run in half precision, which finite differences do not survive.

Sources: Spall (1992, SPSA); Nesterov & Spokoiny (2017, random gradient-free); Oh et al. (BlackVIP, CVPR 2023, SPSA-GC);
Cheng et al. (NeurIPS 2019 and 2021, prior-guided RGF); McRae et al. (ICLR 2022, critical gradients); Maheswaranathan et
al. (2019, guided evolution strategies).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from trainer.algorithms.surrogate import AnswerSpace, Probes, answer_loss, no_probes

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.algorithms.critical_history import Records

Perturbation = Literal["rademacher", "segmented"]
_FLAT = 1e-3
"""A direction whose root mean square over a cell is below a quarter of an 8-bit step is no direction."""
_MEMORY = 0.9
"""Decay of the running mean of the measured loss."""


# -- codes ---------------------------------------------------------------------------------------------------------


class Code(Protocol):
    """A few directions in which an image may be moved: an orthonormal frame that depends on the image."""

    def size(self, images: Tensor) -> int:
        """Number :math:`d` of directions for images of this shape."""

    def displacement(self, images: Tensor, coordinates: Tensor) -> Tensor:
        """Combine the directions: :math:`Q(x) z`.

        Args:
            images: In [0, 1], shape ``[B, 3, H, W]``.
            coordinates: :math:`z`, shape ``[B, d]``.

        Returns:
            Shape ``[B, 3, H, W]``; linear in ``coordinates`` and of the same norm, but for directions that an image
            lacks.
        """


class BlockCode:
    """Image space on a low-resolution basis: each channel of each square cell moves as one.

    Args:
        cell: Side of a cell in pixels; must divide the sides of the images.
    """

    def __init__(self, cell: int = 8) -> None:
        self._cell = cell

    def size(self, images: Tensor) -> int:
        """See :meth:`Code.size`."""
        return 3 * _cells(images, self._cell)

    def displacement(self, images: Tensor, coordinates: Tensor) -> Tensor:
        """See :meth:`Code.displacement`."""
        height, width = images.shape[-2] // self._cell, images.shape[-1] // self._cell
        blocks = coordinates.view(-1, 3, height, width) / self._cell
        return blocks.repeat_interleave(self._cell, dim=-2).repeat_interleave(self._cell, dim=-1)


class OperatorCode:
    """A bank of five picture operators per square cell.

    Offsets of red, green and blue, contrast (away from the cell's mean) and mixing with grey (towards the mean of the
    channels), orthonormalised in this order (Gram-Schmidt), so that one displacement means the same for every image. A
    flat cell has no contrast and a grey one nothing to mix.

    Args:
        cell: Side of a cell in pixels; must divide the sides of the images.
    """

    def __init__(self, cell: int = 8) -> None:
        self._cell = cell

    def size(self, images: Tensor) -> int:
        """See :meth:`Code.size`."""
        return 5 * _cells(images, self._cell)

    def displacement(self, images: Tensor, coordinates: Tensor) -> Tensor:
        """See :meth:`Code.displacement`."""
        shuffled = nn.functional.pixel_unshuffle(images, self._cell)
        pixels = shuffled.view(len(images), 3, self._cell**2, *shuffled.shape[-2:])
        amounts = coordinates.view(len(images), 5, 1, *pixels.shape[-2:])
        contrast = _unit(pixels - pixels.mean(dim=2, keepdim=True))
        towards_grey = pixels.mean(dim=1, keepdim=True) - pixels
        towards_grey = towards_grey - towards_grey.mean(dim=2, keepdim=True)
        shared = (towards_grey * contrast).sum(dim=(1, 2), keepdim=True)
        grey = _unit(towards_grey - shared * contrast)
        moved = amounts[:, :3] / self._cell + amounts[:, 3:4] * contrast + amounts[:, 4:] * grey
        return nn.functional.pixel_shuffle(moved.flatten(1, 2), self._cell)


def _cells(images: Tensor, cell: int) -> int:
    height, width = images.shape[-2:]
    if height % cell or width % cell:
        raise ValueError(f"cells of {cell} pixels do not divide images of {height} x {width}")
    return (height // cell) * (width // cell)


def _unit(directions: Tensor) -> Tensor:
    """Scale each cell's direction ``[B, 3, n, H', W']`` to norm 1, or to 0 where there is none."""
    norm = directions.square().sum(dim=(1, 2), keepdim=True).sqrt()
    least = _FLAT * math.sqrt(directions.shape[1] * directions.shape[2])
    return torch.where(norm > least, directions / norm.clamp(min=least), 0.0)


# -- what all estimators share -------------------------------------------------------------------------------------


class _Asked(NamedTuple):
    """Pairs of probes whose answers are awaited; pair ``i`` has the tags ``2 i`` (plus) and ``2 i + 1`` (minus)."""

    images: Tensor
    """The whole batch."""
    rows: Tensor
    questions: Tensor
    references: Tensor
    directions: Tensor
    """Coordinates, shape ``[q, d]``."""
    which: Tensor
    """Direction of each pair, ``int64``, shape ``[P]``."""
    step: float


class _Measured(NamedTuple):
    """Pairs of which both answers arrived."""

    pairs: Tensor
    slopes: Tensor
    """:math:`D_u`, shape ``[P]``."""
    losses: Tensor
    """Mean of the two losses, shape ``[P]``."""


class _Differences:
    """Asks pairs of probes and turns their answers into slopes.

    Args:
        space: Questions and answers.
        code: Directions in which images are moved.
        radius: Root mean square change of a pixel by a probe along a direction of coordinates +-1, in units of the
            pixel range.
    """

    def __init__(self, space: AnswerSpace, code: Code, *, radius: float) -> None:
        if radius <= 0:
            raise ValueError("radius must be positive")
        self._sizes, self._code, self._radius = space.sizes, code, radius
        self._typical = 1.0
        self._asked: _Asked | None = None

    def pretrain(
        self, steps: int, *, learning_rate: float, generator: torch.Generator, progress: Callable[[], None]
    ) -> None:
        """There is nothing to learn without queries."""

    def fit(self, *, generator: torch.Generator) -> dict[str, float]:  # noqa: ARG002  the protocol's
        """Estimates are made as answers arrive; tells the running mean of the measured loss."""
        return {"probe_loss": self._typical}

    def posteriors(self, images: Tensor) -> None:
        """A slope expects no answers."""

    def _ask(
        self,
        images: Tensor,
        references: Tensor,
        pairs: Tensor,
        directions: Tensor,
        which: Tensor,
        *,
        radius: float,
    ) -> Probes:
        """Move each pair's image both ways along its direction."""
        rows, questions = pairs.unbind(1)
        step = radius * math.sqrt(images[0].numel() / self._code.size(images))
        moved = step * self._code.displacement(images[rows], directions[which])
        both = torch.stack([images[rows] + moved, images[rows] - moved], dim=1).flatten(0, 1).clamp(0, 1)
        self._asked = _Asked(images, rows, questions, references[rows, questions], directions, which, step)
        twice = pairs.repeat_interleave(2, dim=0)
        return Probes(both, twice[:, 0], twice[:, 1], torch.arange(len(both)))

    def _measure(self, asked: _Asked, records: Records, probes: Probes) -> _Measured:
        pair = probes.tags // 2
        losses = torch.full((2 * len(asked.rows),), math.nan)
        sizes = self._sizes[asked.questions[pair]]
        losses[probes.tags] = answer_loss(records.targets, asked.references[pair], sizes)
        plus, minus = losses.view(-1, 2).unbind(1)
        # An answer may be lost for good when a process dies; half a pair says nothing about a slope.
        pairs = (plus.isfinite() & minus.isfinite()).nonzero()[:, 0]
        plus, minus = plus[pairs], minus[pairs]
        mean = (plus + minus) / 2
        if len(pairs):
            self._typical = _MEMORY * self._typical + (1 - _MEMORY) * float(mean.mean())
        return _Measured(pairs, (plus - minus) / (2 * asked.step), mean)


def draw_pairs(references: Tensor, count: int, *, generator: torch.Generator) -> Tensor:
    """Draw (image, question) pairs that stand for a batch: every image once, at random, before any image twice.

    Args:
        references: ``-1`` where a question is not asked, shape ``[B, Q]``.
        count: At most; there may be fewer pairs.
        generator: Source of randomness.

    Returns:
        Distinct rows and questions, shape ``[P, 2]``.
    """
    asked = references >= 0
    # The questions of each image in random order, those that are not asked last.
    order = torch.where(asked, torch.rand(references.shape, generator=generator), 2.0).argsort(dim=1)
    rows = torch.randperm(len(references), generator=generator)
    turns = [torch.stack([rows, order[rows, turn]], dim=1) for turn in range(references.shape[1])]
    return torch.cat([pairs[asked[pairs[:, 0], pairs[:, 1]]] for pairs in turns])[:count]


def _linear(images: Tensor, gradient: Tensor, value: Tensor) -> Tensor:
    """Per image, the linear function with this gradient ``[B, 3, H, W]`` and, where it stands, this value ``[B]``."""
    return value + ((images - images.detach()) * gradient).sum(dim=(1, 2, 3))


# -- a direction per image -----------------------------------------------------------------------------------------


class PerImageDifferences(_Differences):
    r"""Antithetic differences with a random direction for each picture: image space or code space, by the code.

    .. math:: \hat g_i = \frac{B}{|R|} \, \frac{1}{q_i} \sum_{k=1}^{q_i} D_{u_k} Q u_k,
        \qquad u_k \in \{-1, 1\}^d \text{ uniformly}

    for the :math:`|R|` images of the batch that were asked about, :math:`q_i` times image :math:`i`. As
    :math:`E[u u^\top] = I` and the images are drawn uniformly, the mean over the batch is an unbiased estimate of the
    gradient, projected on the code's span, up to third-order terms in ``radius`` and the clamping to [0, 1].
    """

    min_queries = 2

    def __init__(self, space: AnswerSpace, code: Code, *, radius: float = 0.08) -> None:
        super().__init__(space, code, radius=radius)
        self._gradient: Tensor | None = None
        self._value = torch.empty(0)

    def propose(
        self, images: Tensor, references: Tensor, quota: int, *, generator: torch.Generator
    ) -> Probes:
        """Move as many images as the quota allows, each both ways."""
        self._gradient, self._asked = None, None
        pairs = draw_pairs(references, quota // 2, generator=generator) if quota >= 2 else references[:0]
        if not len(pairs):
            return no_probes(images, references)
        directions = _rademacher(len(pairs), self._code.size(images), generator)
        which = torch.arange(len(pairs))
        return self._ask(images, references, pairs, directions, which, radius=self._radius)

    def observe(self, records: Records, probes: Probes) -> None:
        """See :meth:`UtilityEstimator.observe`."""
        asked = self._asked
        if asked is None:
            raise ValueError("nothing was proposed")
        measured = self._measure(asked, records, probes)
        if not len(measured.pairs):
            return
        rows = asked.rows[measured.pairs]
        directions = self._code.displacement(asked.images[rows], asked.directions[measured.pairs])
        times = torch.bincount(rows, minlength=len(asked.images))
        seen = times > 0
        times = times.clamp(min=1)
        gradient = torch.zeros_like(asked.images)
        gradient.index_add_(0, rows, measured.slopes[:, None, None, None] * directions)
        self._gradient = gradient / times[:, None, None, None] / seen.float().mean()
        value = torch.zeros(len(asked.images)).index_add_(0, rows, measured.losses) / times
        self._value = torch.where(seen, value, self._typical)

    def loss(self, images: Tensor, references: Tensor, *, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """See :meth:`UtilityEstimator.loss`; its value is the measured loss, or the typical one."""
        if self._gradient is None:
            return torch.full((len(images),), self._typical)
        return _linear(images, self._gradient, self._value)

    def state_dict(self) -> dict[str, Any]:
        """The running mean of the measured loss."""
        return {"typical": self._typical}

    def load_state_dict(self, state: dict[str, Any], recall: Callable[[], Records | None]) -> None:  # noqa: ARG002
        """See :meth:`UtilityEstimator.load_state_dict`."""
        self._typical = state["typical"]


def _rademacher(count: int, size: int, generator: torch.Generator) -> Tensor:
    return torch.randint(2, (count, size), generator=generator).float() * 2 - 1


# -- a code shared by the batch ------------------------------------------------------------------------------------


class _SharedCode(_Differences):
    """Estimates the gradient of the batch's mean loss on one displacement of all its images.

    Args:
        space: Questions and answers.
        code: Directions in which images are moved.
        batch: Images of a batch.
        radius: See :class:`_Differences`.
        directions: Directions per estimate.
        images: Images over which the slope along a direction is averaged; ``None`` for the whole batch.
    """

    def __init__(
        self,
        space: AnswerSpace,
        code: Code,
        *,
        batch: int,
        radius: float,
        directions: int,
        images: int | None,
    ) -> None:
        super().__init__(space, code, radius=radius)
        if directions < 1 or (images is not None and images < 1):
            raise ValueError("directions and images must be positive")
        self._directions = directions
        self._images = batch if images is None else min(images, batch)
        self._held: Tensor | None = None
        self._estimates = 0

    @property
    def min_queries(self) -> int:
        """Queries of the smallest estimate."""
        return 2 * self._directions * self._images

    def propose(
        self, images: Tensor, references: Tensor, quota: int, *, generator: torch.Generator
    ) -> Probes:
        """Move the same images both ways along each direction, once the quota has grown to a whole estimate."""
        self._asked = None
        per_image = 2 * self._directions
        if quota < self.min_queries:
            return no_probes(images, references)
        pairs = draw_pairs(references, quota // per_image, generator=generator)
        if not len(pairs):
            return no_probes(images, references)
        directions = self._draw(self._code.size(images), generator)
        which = torch.arange(len(directions)).repeat_interleave(len(pairs))
        pairs = pairs.repeat(len(directions), 1)
        return self._ask(images, references, pairs, directions, which, radius=self._current_radius())

    def observe(self, records: Records, probes: Probes) -> None:
        """See :meth:`UtilityEstimator.observe`."""
        asked = self._asked
        if asked is None:
            raise ValueError("nothing was proposed")
        measured = self._measure(asked, records, probes)
        if not len(measured.pairs):
            return
        which = asked.which[measured.pairs]
        times = torch.bincount(which, minlength=len(asked.directions))
        sums = torch.zeros(len(asked.directions)).index_add_(0, which, measured.slopes)
        self._estimates += 1
        self._held = self._combine(asked.directions, sums / times.clamp(min=1), times > 0)

    def loss(self, images: Tensor, references: Tensor, *, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """See :meth:`UtilityEstimator.loss`; its value is the typical measured loss."""
        value = torch.full((len(images),), self._typical)
        if self._held is None:
            return value
        still = images.detach()
        return _linear(images, self._code.displacement(still, self._held.expand(len(images), -1)), value)

    def state_dict(self) -> dict[str, Any]:
        """The last estimate, how many there were, and the running mean of the measured loss."""
        return {"typical": self._typical, "held": self._held, "estimates": self._estimates}

    def load_state_dict(self, state: dict[str, Any], recall: Callable[[], Records | None]) -> None:  # noqa: ARG002
        """See :meth:`UtilityEstimator.load_state_dict`."""
        self._typical, self._held, self._estimates = state["typical"], state["held"], state["estimates"]

    def _current_radius(self) -> float:
        return self._radius

    def _draw(self, size: int, generator: torch.Generator) -> Tensor:
        """Directions of the next estimate, shape ``[q, d]``, with a mean square of 1 over the coordinates."""
        raise NotImplementedError

    def _combine(self, directions: Tensor, slopes: Tensor, known: Tensor) -> Tensor:
        """Turn slopes into an estimate.

        Args:
            directions: As drawn, shape ``[q, d]``.
            slopes: Mean slope along each, shape ``[q]``.
            known: Whether a slope was measured, boolean, shape ``[q]``; at least one was.

        Returns:
            The gradient on the code, shape ``[d]``.
        """
        raise NotImplementedError


class SharedSPSA(_SharedCode):
    r"""Simultaneous perturbation (Spall, 1992), with gradient correction as in BlackVIP (Oh et al., CVPR 2023).

    .. math::
        \hat g_k = \frac1q \sum_{j=1}^q D_{\Delta_j} \, \Delta_j^{-1}, \qquad
        m_k = \beta m_{k-1} + \hat g_k, \qquad
        \text{estimate} = a_k (\hat g_k + \beta m_k)

    with :math:`\Delta^{-1}` element by element, radius :math:`c_k = c / k^\gamma` and gain
    :math:`a_k = a \, ((1 + o) / (k + o))^\alpha` at the :math:`k`-th estimate. The momentum looks ahead as Nesterov's
    does, in the form that needs no gradient at another point. ``momentum=0`` is plain SPSA.

    The defaults are the published ones, read from the authors' code (``changdaeoh/BlackVIP``: base configuration for
    ViT-B/16 and training script): :math:`c = 0.01`, :math:`\gamma = 0.1`, :math:`\alpha = 0.4`, :math:`o = 1`,
    :math:`\beta = 0.9`, five perturbations per estimate, each on the whole batch, and perturbations that are *segmented
    uniform*, on :math:`[-1, -\frac12] \cup [\frac12, 1]`. They tuned :math:`c` in 0.005 ... 0.02, :math:`\gamma` in
    0.1 ... 0.2 and :math:`\beta` in 0.3 ... 0.95 for each data set.

    Our deviations: they perturb the weights of a small prompt network, we a displacement of the picture that the batch
    shares, so their :math:`c` is read as a change of a pixel; their step size :math:`a = 0.01` multiplies a plain
    gradient step, where ours goes through the protector's optimizer, so :math:`a = 1` and only its decay is kept.

    Args:
        space: Questions and answers.
        code: Directions in which images are moved.
        batch: Images of a batch.
        momentum: :math:`\beta` in [0, 1).
        radius: :math:`c`, root mean square change of a pixel, in units of the pixel range.
        radius_decay: :math:`\gamma`.
        gain: :math:`a`.
        gain_decay: :math:`\alpha`.
        offset: :math:`o`.
        directions: :math:`q`.
        images: Images over which a slope is averaged; ``None`` for the whole batch.
        perturbation: Distribution of :math:`\Delta`: ``"segmented"`` or ``"rademacher"``, which has the least variance.
    """

    def __init__(
        self,
        space: AnswerSpace,
        code: Code,
        *,
        batch: int,
        momentum: float = 0.9,
        radius: float = 0.01,
        radius_decay: float = 0.1,
        gain: float = 1.0,
        gain_decay: float = 0.4,
        offset: float = 1.0,
        directions: int = 5,
        images: int | None = None,
        perturbation: Perturbation = "segmented",
    ) -> None:
        super().__init__(space, code, batch=batch, radius=radius, directions=directions, images=images)
        if not 0 <= momentum < 1 or gain <= 0 or min(radius_decay, gain_decay, offset) < 0:
            raise ValueError(
                "momentum must be in [0, 1), gain must be positive, decays and offset not negative"
            )
        self._momentum, self._gain, self._offset = momentum, gain, offset
        self._radius_decay, self._gain_decay = radius_decay, gain_decay
        self._perturbation = perturbation
        self._average: Tensor | None = None

    def state_dict(self) -> dict[str, Any]:
        """That of the base, and the momentum."""
        return super().state_dict() | {"average": self._average}

    def load_state_dict(self, state: dict[str, Any], recall: Callable[[], Records | None]) -> None:
        """See :meth:`UtilityEstimator.load_state_dict`."""
        super().load_state_dict(state, recall)
        self._average = state["average"]

    def _current_radius(self) -> float:
        return self._radius / math.pow(self._estimates + 1, self._radius_decay)

    def _draw(self, size: int, generator: torch.Generator) -> Tensor:
        signs = _rademacher(self._directions, size, generator)
        if self._perturbation == "rademacher":
            return signs
        return signs * (torch.rand(signs.shape, generator=generator) + 1) / 2

    def _combine(self, directions: Tensor, slopes: Tensor, known: Tensor) -> Tensor:
        estimate = (slopes[known, None] / directions[known]).mean(dim=0)
        self._average = estimate if self._average is None else self._momentum * self._average + estimate
        gain = self._gain * math.pow((1 + self._offset) / (self._estimates + self._offset), self._gain_decay)
        return gain * (estimate + self._momentum * self._average)


class CriticalGradients:
    r"""The few past gradients of the largest norm (McRae et al., ICLR 2022).

    A gradient enters with its norm as priority if there is room or if it beats the smallest; all priorities fade by the
    same factor with each new gradient, so that old ones give way. Defaults are those of the authors' code
    (``chandar-lab/CGOptimizer``: ``topC=5``, ``decay=0.7``). They add the memory's mean or sum to every step; here it
    only says where to look, see :class:`SharedRGF`.

    Args:
        capacity: Most gradients kept.
        decay: Factor of the priorities, in (0, 1].
    """

    def __init__(self, capacity: int = 5, *, decay: float = 0.7) -> None:
        if capacity < 0 or not 0 < decay <= 1:
            raise ValueError("capacity must be 0 or more, and decay in (0, 1]")
        self._capacity, self._decay = capacity, decay
        self._gradients = torch.empty(0, 0)
        self._priorities = torch.empty(0)

    def __len__(self) -> int:
        return len(self._priorities)

    def add(self, gradient: Tensor) -> None:
        """Offer a new gradient, shape ``[d]``."""
        norm = gradient.norm()[None]
        priorities = torch.cat([self._priorities * self._decay, norm])
        gradients = torch.cat([self._gradients.view(len(self), len(gradient)), gradient[None]])
        kept = priorities.argsort(descending=True, stable=True)[: self._capacity]
        self._priorities, self._gradients = priorities[kept], gradients[kept]

    def directions(self, count: int) -> Tensor:
        """Orthonormal directions of the gradients by falling priority, at most ``count``, shape ``[m, d]``.

        A gradient that depends on those before it, up to a thousandth of its norm, gives none.
        """
        found: list[Tensor] = []
        for gradient in self._gradients:
            rest = gradient / gradient.norm().clamp(min=1e-12)
            for _ in range(2):  # once loses orthogonality to rounding when little is left
                for direction in found:
                    rest = rest - (direction * rest).sum() * direction
            if len(found) < count and float(rest.norm()) > 1e-3:
                found.append(rest / rest.norm())
        return torch.stack(found) if found else self._gradients[:0]

    def state_dict(self) -> dict[str, Tensor]:
        """Gradients and priorities."""
        return {"gradients": self._gradients, "priorities": self._priorities}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore."""
        self._gradients, self._priorities = state["gradients"], state["priorities"]


class SharedRGF(_SharedCode):
    r"""Random gradient-free estimate that probes the critical directions of the past first.

    .. math:: \hat g = \sum_{i=1}^{m} D_{p_i} p_i + \frac{d - m}{q - m} \sum_{j=1}^{q - m} D_{u_j} u_j

    for orthonormal priors :math:`p_i` from :class:`CriticalGradients`, at most half of the directions, and random
    orthonormal :math:`u_j` orthogonal to them. Along the priors the gradient is exact, elsewhere unbiased; with
    :math:`q = d` all of it is exact.

    Cheng et al. (2019, P-RGF) draw their directions around one prior, the gradient of a surrogate model, with a share
    :math:`\lambda` that they optimise; in their later paper (2021) one estimate is measured along the prior and along
    random directions orthogonal to it, and the history variant takes the last estimate as prior. We follow the later
    form with several priors, the critical ones of McRae et al., in place of the last. They normalise the estimate,
    which makes the factor :math:`(d - m) / (q - m)` vanish; we keep it, because the estimate is weighed against the
    privacy gradient. Both papers are cited from memory: no constant of theirs is used. One caveat: where slopes are
    noisy, a large estimate is often a noisy one, and the memory then holds noise.

    Args:
        space: Questions and answers.
        code: Directions in which images are moved.
        batch: Images of a batch.
        radius: Root mean square change of a pixel by a probe, in units of the pixel range.
        directions: :math:`q`, at least 2.
        images: Images over which a slope is averaged; ``None`` for the whole batch.
        memory: Past estimates kept.
        memory_decay: Factor by which their priority fades with each new estimate.
    """

    def __init__(
        self,
        space: AnswerSpace,
        code: Code,
        *,
        batch: int,
        radius: float = 0.08,
        directions: int = 8,
        images: int | None = 2,
        memory: int = 5,
        memory_decay: float = 0.7,
    ) -> None:
        super().__init__(space, code, batch=batch, radius=radius, directions=directions, images=images)
        self._memory = CriticalGradients(memory, decay=memory_decay)
        self._priors = 0

    def state_dict(self) -> dict[str, Any]:
        """That of the base, and the memory."""
        return super().state_dict() | {"memory": self._memory.state_dict()}

    def load_state_dict(self, state: dict[str, Any], recall: Callable[[], Records | None]) -> None:
        """See :meth:`UtilityEstimator.load_state_dict`."""
        super().load_state_dict(state, recall)
        self._memory.load_state_dict(state["memory"])

    def _draw(self, size: int, generator: torch.Generator) -> Tensor:
        count = min(self._directions, size)
        priors = self._memory.directions(count // 2).view(-1, size)
        self._priors = len(priors)
        random = torch.randn(count - len(priors), size, generator=generator)
        # The factorisation goes through the columns in order: the priors first, then what is orthogonal to them.
        basis = torch.linalg.qr(torch.cat([priors, random]).T).Q.T
        return math.sqrt(size) * torch.cat([priors, basis[len(priors) :]])

    def _combine(self, directions: Tensor, slopes: Tensor, known: Tensor) -> Tensor:
        size = directions.shape[1]
        units, slopes = directions / math.sqrt(size), slopes / math.sqrt(size)
        random = torch.arange(len(directions)) >= self._priors
        rest = (known & random).sum().clamp(min=1)
        weights = torch.where(random, (size - self._priors) / rest, 1.0) * known
        estimate = ((weights * slopes)[:, None] * units).sum(dim=0)
        self._memory.add(estimate)
        return estimate
