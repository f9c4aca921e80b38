"""Fit of the statistics by which an artifact knows pictures unlike those that it was made for.

Familiar pictures give the mean at each level and the directions in which they vary. Pictures of other kinds, made from
them or drawn, give directions in which such kinds lie; a kind that can't be told from familiar pictures gives none.
Further familiar pictures set the threshold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import numpy as np
import torch

from langchain_vpp.artifact import DomainFacts, load_artifact, save_domain
from langchain_vpp.engines.learned import LearnedEngine
from langchain_vpp.errors import ArtifactError, DataError
from langchain_vpp.images.codec import resized
from langchain_vpp.network.config import ProtectorConfig, working_size
from langchain_vpp.network.domain import Domain, Statistics, describe
from langchain_vpp.network.threads import one_thread
from trainer.runtime.cancellation import while_wanted
from trainer.sandbox.drawing.other_kinds import OTHER_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt
    from PIL import Image

    from langchain_vpp.network.domain import Floats
    from trainer.data.dataset import Dataset
    from trainer.data.format import Split

_T = TypeVar("_T")

_STEPS: Final = 9
"""Levels of the network at which descriptions are taken; half as many are added for users."""
_LEAST_STEP: Final = 0.01
_EACH: Final = 5
"""Number of levels at which each familiar picture is described."""
MOST: Final = 400
"""Pictures of a split that are enough."""
_EACH_CLIP: Final = 2
"""Most frames of one video: its frames are much alike."""
_FAMILIAR: Final = 0.99
"""Share of the validation pictures that are familiar at every level."""
_CAUTION: Final = 10.0
"""Deviations of the scores that are added to the threshold, divided by the number of pictures."""
_COMPONENTS: Final = 128
_EXAMPLES: Final = 100
"""Pictures of each other kind to fit a direction to."""
_EACH_OTHER: Final = 3
"""Number of levels at which each of these is described."""
_JUDGED: Final = 30
"""Further pictures of each other kind, to see whether the direction tells them."""
_ITERATIONS: Final = 60
_DECAY: Final = 1e-3
_TOLD: Final = 0.8
"""Share of new pictures of a kind that its direction must tell from familiar ones to be used."""
_TINY: Final = 1e-6
_SPLITS: Final[tuple[Split, ...]] = ("train", "val")
_STREAM: Final = 113
"""Second word of a drawing's seed."""
_LEAST_DEVIATION: Final = 1e-3
"""Smallest deviation of a number of a description, as a share of the largest."""


class FittedDomain(NamedTuple):
    """Statistics of a domain, with facts about them for the manifest."""

    domain: Domain
    facts: DomainFacts


def fit_domain(
    engine: LearnedEngine,
    train: Sequence[Image.Image],
    val: Sequence[Image.Image],
    *,
    knots: Sequence[float] = (0.0, 1.0),
    others: Mapping[str, Sequence[Image.Image]] | None = None,
    seed: int = 0,
    progress: Callable[[int, int], object] = lambda done, of: None,  # noqa: ARG005  named for callers
) -> FittedDomain:
    """Fit the statistics of a domain with the engine that serves the artifact.

    Args:
        engine: The engine. Statistics that were fitted with its graph in int8 are for this graph.
        train: Familiar pictures; some hundreds suffice.
        val: Other familiar pictures, which set the threshold.
        knots: Levels of the network at equally spaced user levels, as in its configuration.
        others: Name of another kind -> pictures of it, in addition to
            :data:`~trainer.sandbox.drawing.other_kinds.OTHER_KINDS`. The second half of them judges the first.
        seed: Seed of what is drawn.
        progress: Called with the number of pictures that are done and of all.

    Raises:
        DataError: If there are fewer than two pictures to fit on, or none for the threshold.
        ArtifactError: If the engine's graph is of an earlier version.
    """
    if len(train) < 2 or not val:
        raise DataError("no domain was fitted: it takes two pictures for training, and one for validation.")
    train, val = ([_small(each, engine) for each in _evenly(split)] for split in (train, val))
    describer = _Describer(engine, levels_of(knots), _most(train, val, others or {}), progress)
    seen = describer.described(train, _EACH)
    shape = _Shape.of(seen, describer.levels)
    familiar = shape.scaled(seen)
    held = shape.scaled(describer.described(val, _EACH))
    directions, judged, alike = [], {}, []
    for kind, examples, new in _other_pictures(train, val, others or {}, seed):
        direction = shape.direction(familiar, shape.scaled(describer.described(examples, _EACH_OTHER)))
        scaled = shape.scaled(describer.described(new))
        if (scaled @ direction > np.quantile(held @ direction, _FAMILIAR)).mean() >= _TOLD:
            directions.append(direction)
            judged[kind] = scaled
        else:
            alike.append(kind)
    domain = shape.domain(directions, held.reshape(_EACH, len(val), -1))
    facts = DomainFacts(
        train=len(train),
        val=len(val),
        covered=float((~_familiar(domain, held)).mean()),
        told_apart={kind: float((~_familiar(domain, scaled)).mean()) for kind, scaled in judged.items()},
        alike=tuple(alike),
    )
    return FittedDomain(domain, facts)


def _most(
    train: Sequence[Image.Image], val: Sequence[Image.Image], others: Mapping[str, Sequence[Image.Image]]
) -> int:
    """Count the descriptions that a fit takes, for its progress."""
    made = len(OTHER_KINDS) * (_EACH_OTHER * min(_EXAMPLES, len(train)) + min(_JUDGED, len(val)))
    given = sum((_EACH_OTHER + 1) * -(-len(each) // 2) for each in others.values())
    return _EACH * (len(train) + len(val)) + made + given


def levels_of(knots: Sequence[float]) -> tuple[float, ...]:
    """Choose user levels at which to take descriptions, so that the network's levels between them are close.

    Args:
        knots: Levels of the network at equally spaced user levels, as in a protector's configuration.
    """
    users = np.linspace(0, 1, len(knots))
    reached = np.interp(np.linspace(knots[0], knots[-1], _STEPS), knots, users)
    levels: list[float] = []
    for level in sorted({*np.linspace(0, 1, _STEPS // 2 + 1).tolist(), *reached.tolist()}):
        if not levels or level - levels[-1] >= _LEAST_STEP:
            levels.append(round(level, 4))
    return (*levels[:-1], 1.0)


def give_domain(
    folder: Path,
    dataset: Dataset,
    *,
    others: Mapping[str, Sequence[Image.Image]] | None = None,
    seed: int = 0,
    progress: Callable[[int, int], object] = lambda done, of: None,  # noqa: ARG005  named for callers
) -> str:
    """Fit the domain of an artifact to the data set that it was trained on, and return the artifact's new digest.

    Args:
        folder: The artifact. Its engine, as users get it, is what the statistics are for.
        dataset: The data set; its splits ``train`` and ``val`` are used.
        others: As in :func:`fit_domain`.
        seed: As in :func:`fit_domain`.
        progress: As in :func:`fit_domain`.

    Raises:
        DataError: As in :func:`fit_domain`; also if a picture can't be read.
        ArtifactError: If the artifact can't be loaded or written.
    """
    _, engine, manifest, _ = load_artifact(folder)
    if not isinstance(engine, LearnedEngine):
        raise ArtifactError(f"{folder} has no network, so no domain was fitted.")
    knots = ProtectorConfig.model_validate(manifest.protector).level_knots
    train, val = ([_small(picture, engine) for picture in _pictures(dataset, split)] for split in _SPLITS)
    return save_domain(
        folder, *fit_domain(engine, train, val, knots=knots, others=others, seed=seed, progress=progress)
    )


def _pictures(dataset: Dataset, split: Split) -> Iterator[Image.Image]:
    """Open pictures of a split, at most :data:`MOST`; of videos a few frames, taken in turn from all places."""
    examples = _evenly(dataset.split(split))
    for number, example in enumerate(examples):
        frames = dataset.open_frames(example)
        each = min(len(frames), _EACH_CLIP, max(1, MOST // len(examples)))
        for turn in range(each):
            yield frames[(number + turn * len(frames) // each) % len(frames)]


def _small(picture: Image.Image, engine: LearnedEngine) -> Image.Image:
    """Scale a picture to twice the size at which the network sees it: parts of it can still be shown enlarged."""
    return resized(picture, working_size(*picture.size, 2 * engine.working_resolution))


def _evenly(all_of_them: Sequence[_T]) -> Sequence[_T]:
    """Choose at most :data:`MOST`, evenly over all."""
    step = -(-len(all_of_them) // MOST) or 1
    return all_of_them[::step]


class _Described(NamedTuple):
    """Descriptions of pictures, each at a level."""

    values: Floats
    """Shape ``[N, D]``."""
    places: npt.NDArray[np.int64]
    """Number of the level of each, ``[N]``."""


class _Describer:
    """Describes pictures with an engine, and tells the progress."""

    def __init__(
        self,
        engine: LearnedEngine,
        levels: Sequence[float],
        most: int,
        progress: Callable[[int, int], object],
    ) -> None:
        self.levels = levels
        self._engine, self._most, self._progress = engine, most, progress
        self._done = 0

    def described(self, pictures: Sequence[Image.Image], each: int = 1) -> _Described:
        """Describe every picture at some of the levels, which take turns: all pictures at one, then all at another."""
        values, places = [], []
        for turn in range(each):
            for number, picture in enumerate(while_wanted(pictures)):
                place = (number + turn * len(self.levels) // each) % len(self.levels)
                values.append(describe(self._engine.pooled(picture, self.levels[place])))
                places.append(place)
                self._done += 1
                self._progress(self._done, self._most)
        return _Described(np.stack(values), np.array(places))


class _Shape(NamedTuple):
    """Gaussian of familiar descriptions: a mean for each level, and principal components of what is left."""

    levels: Floats
    means: Floats
    scale: Floats
    components: Floats
    variances: Floats
    rest: float
    """Variance along every direction beside the components."""

    @classmethod
    def of(cls, seen: _Described, levels: Sequence[float]) -> _Shape:
        """Fit it to descriptions of familiar pictures."""
        means = _means(seen, len(levels))
        centred = seen.values - means[seen.places]
        deviation = centred.std(axis=0)
        scale = deviation + max(_LEAST_DEVIATION * float(deviation.max()), _TINY)
        _, singular, components = np.linalg.svd(centred / scale, full_matrices=False)
        variances = singular**2 / len(centred)
        most = max(1, min(_COMPONENTS, len(centred) // (3 * _EACH)))
        rest = float(variances[most:].sum() / max(1, len(scale) - most))
        return cls(
            np.array(levels, dtype=np.float32),
            means,
            scale,
            components[:most],
            np.maximum(variances[:most], _TINY),
            max(rest, _TINY),
        )

    def scaled(self, seen: _Described) -> Floats:
        """Scale descriptions, ``[N, D]``."""
        scaled: Floats = (seen.values - self.means[seen.places]) / self.scale
        return scaled

    def whitened(self, scaled: Floats) -> Floats:
        """Scale descriptions to unit variance in every direction: along the components, and beside them."""
        along = scaled @ self.components.T
        inside, rest = 1 / np.sqrt(self.variances), 1 / np.sqrt(self.rest)
        whitened: Floats = scaled * rest + (along * (inside - rest)) @ self.components
        return whitened.astype(np.float32)

    def direction(self, familiar: Floats, others: Floats) -> Floats:
        """Find the direction that tells other pictures, by logistic regression on whitened descriptions, ``[D]``.

        Args:
            familiar: Scaled descriptions of familiar pictures, ``[N, D]``.
            others: Those of pictures of another kind, ``[M, D]``.
        """
        # The map that whitens is symmetric.
        found = self.whitened(_regression(self.whitened(familiar), self.whitened(others)))
        return found / max(float(np.linalg.norm(found)), _TINY)

    def domain(self, directions: Sequence[Floats], held: Floats) -> Domain:
        """Set the threshold by other familiar pictures, each described at several levels: ``[L, N, D]``, scaled."""
        kinds = len(directions)
        statistics = Statistics(
            self.levels,
            self.means,
            self.scale,
            self.components,
            self.variances,
            np.stack(directions) if kinds else np.zeros((0, len(self.scale)), dtype=np.float32),
            np.zeros(2 + kinds, dtype=np.float32),
            np.ones(2 + kinds, dtype=np.float32),
            np.zeros(1, dtype=np.float32),
        ).stored()
        scores = Domain(statistics).scores(held)
        spreads = np.maximum(scores.std(axis=(0, 1)), _TINY)
        known = statistics._replace(centres=scores.mean(axis=(0, 1)), spreads=spreads)
        # A picture is familiar only if it is so at all of its levels.
        worst = Domain(known).largest(held).max(axis=0)
        return Domain(
            known._replace(threshold=np.quantile(worst, _FAMILIAR, keepdims=True).astype(np.float32))
        )


def _regression(familiar: Floats, others: Floats) -> Floats:
    """Fit a logistic regression that counts both kinds alike, and return its weights, ``[D]``."""
    inputs = torch.from_numpy(np.concatenate([familiar, others]))
    sign = torch.cat([-torch.ones(len(familiar)), torch.ones(len(others))])
    share = torch.cat([torch.full((len(each),), 0.5 / len(each)) for each in (familiar, others)])
    weights = torch.zeros(inputs.shape[1] + 1, requires_grad=True)
    descent = torch.optim.LBFGS([weights], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        descent.zero_grad()
        margins = sign * (inputs @ weights[:-1] + weights[-1])
        error = (share * torch.nn.functional.softplus(-margins)).sum() + _DECAY * weights.square().sum()
        error.backward()  # type: ignore[no-untyped-call]
        return error

    with one_thread():
        descent.step(loss)  # type: ignore[no-untyped-call]
    fitted: Floats = weights.detach()[:-1].numpy()
    return fitted


def _means(seen: _Described, count: int) -> Floats:
    """Average descriptions at each level; where few pictures leave a level without any, between its neighbours."""
    held = [place for place in range(count) if (seen.places == place).any()]
    means = np.stack([seen.values[seen.places == place].mean(axis=0) for place in held])
    every = [np.interp(range(count), held, column) for column in means.T]
    return np.stack(every, axis=1).astype(np.float32)


def _familiar(domain: Domain, scaled: Floats) -> npt.NDArray[np.bool_]:
    familiar: npt.NDArray[np.bool_] = domain.largest(scaled) <= domain.statistics.threshold[0]
    return familiar


def _other_pictures(
    train: Sequence[Image.Image],
    val: Sequence[Image.Image],
    others: Mapping[str, Sequence[Image.Image]],
    seed: int,
) -> Iterator[tuple[str, list[Image.Image], list[Image.Image]]]:
    """Make pictures of one kind after the other: some from familiar ones for training, some from others to judge.

    All kinds at once would take much memory.
    """
    fitted, judged = (min(most, len(split)) for most, split in ((_EXAMPLES, train), (_JUDGED, val)))
    for place, (kind, change) in enumerate(OTHER_KINDS.items()):
        pictures = [*train[:fitted], *val[:judged]]
        changed = [
            change(picture, np.random.default_rng((seed, _STREAM, place, number)))
            for number, picture in enumerate(pictures)
        ]
        yield kind, changed[:fitted], changed[fitted:]
    for kind, given in others.items():
        middle = (len(given) + 1) // 2
        yield kind, [*given[:middle]], [*(given[middle:] or given)]
