"""Domain of a learned protector: statistics by which it knows pictures unlike those that it was made for."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress
from functools import lru_cache
from itertools import product
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]

GRID: Final = 3
"""Rows and columns of the parts of a picture that are described for themselves."""
_MOST_BYTES: Final = 2**24
"""Size of the largest array that is read."""
_LEAST: Final = 1e-6
_STORED: Final = {"components": np.float16, "directions": np.float16}
"""Types in which large arrays are stored; all are read as float32."""
_NO_DATE: Final = (1980, 1, 1, 0, 0, 0)
_UNREADABLE: Final = "not statistics of a domain"


def describe(pooled: Floats) -> Floats:
    """Describe a picture by one vector, whatever its size.

    Args:
        pooled: Features that the network has pooled, shape ``[C, h, w]``, not negative.

    Returns:
        For each channel its mean and deviation, its maximum, and its means in a grid of parts as differences from the
        mean. All are taken of square roots, so that a few strong features do not outweigh the others.
    """
    features = np.sqrt(np.maximum(pooled.astype(np.float32), 0))
    flat = features.reshape(len(features), -1)
    means = flat @ _shares(*features.shape[1:])
    mean, parts = means[:, 0], means[:, 1:] - means[:, :1]
    return np.concatenate([mean, flat.std(axis=1), flat.max(axis=1), parts.ravel()])


@lru_cache(maxsize=64)
def _shares(height: int, width: int) -> Floats:
    """Weights of cells in the mean of all, and in those of the parts of a grid, which overlap where cells are few.

    Args:
        height: Rows of cells.
        width: Columns of cells.

    Returns:
        Shape ``[height * width, 1 + GRID**2]``.
    """
    rows, columns = (
        [slice(place * side // GRID, -(-(place + 1) * side // GRID)) for place in range(GRID)]
        for side in (height, width)
    )
    inside = np.zeros((1 + GRID**2, height, width), dtype=np.float32)
    inside[0] = 1
    for number, (row, column) in enumerate(product(rows, columns), start=1):
        inside[number, row, column] = 1
    shares: Floats = (inside / inside.sum(axis=(1, 2), keepdims=True)).reshape(len(inside), -1).T.copy()
    return shares


class Statistics(NamedTuple):
    """Arrays of a domain: ``L`` levels, ``D`` numbers of a description, ``K`` components, ``U`` other kinds."""

    levels: Floats
    """Levels at which descriptions were taken, ascending, ``[L]``."""
    means: Floats
    """Mean description at each level, ``[L, D]``."""
    scale: Floats
    """Deviation of each number, ``[D]``."""
    components: Floats
    """Principal components of scaled descriptions, ``[K, D]``, orthonormal."""
    variances: Floats
    """Variance along each component, ``[K]``."""
    directions: Floats
    """Directions of scaled descriptions in which pictures of other kinds lie, ``[U, D]``."""
    centres: Floats
    """Mean of each score over familiar pictures, ``[2 + U]``."""
    spreads: Floats
    """Deviation of each score over familiar pictures, ``[2 + U]``."""
    threshold: Floats
    """Largest score of a familiar picture, ``[1]``."""

    def stored(self) -> Statistics:
        """Return the arrays as they are once they were stored: some have fewer digits then."""
        return Statistics(
            *(
                array.astype(_STORED.get(name, np.float32)).astype(np.float32)
                for name, array in self._asdict().items()
            )
        )


class Domain:
    r"""Tells pictures that are like those that a protector was made for from all others.

    A picture's description :math:`x` is compared with familiar ones at the same level by several scores: the distance
    from their mean, once within the directions in which they vary and once outside of them,

    .. math:: \log \sum_k (v_k^\top z)^2 / \lambda_k, \qquad \log (\|z\|^2 - \|V z\|^2),
              \qquad z = (x - \mu_\ell) / \sigma,

    and how far it lies in each direction :math:`w_u` in which pictures of another kind lie,
    :math:`w_u^\top z`. Each score counts in deviations from its mean over familiar pictures, and the largest decides.

    Args:
        statistics: The arrays; see :class:`Statistics`.

    Raises:
        ValueError: If they don't fit each other, or hold anything but finite numbers.
    """

    def __init__(self, statistics: Statistics) -> None:
        _check(statistics)
        self.statistics = statistics

    def is_familiar(self, pooled: Floats, level: float) -> bool:
        """Say whether a picture is like those that the protector was made for.

        Args:
            pooled: Features that the network has pooled of the picture, shape ``[C, h, w]``.
            level: Level at which it ran, in [0, 1].
        """
        score = self.score(pooled, level)
        # Written so that a score that is no number is not familiar.
        return bool(score <= float(self.statistics.threshold[0]))

    def score(self, pooled: Floats, level: float) -> float:
        """Return the largest score of a picture, in deviations; ``nan`` if its features are no numbers.

        Raises:
            ValueError: If the network pools other features than those that the domain knows.
        """
        each = self.statistics
        description = describe(pooled)
        if description.shape != each.scale.shape:
            raise ValueError("the network pools other features than those of the domain")
        return float(self.largest((description - _between(each.levels, each.means, level)) / each.scale))

    def largest(self, scaled: Floats) -> Floats:
        """Return the largest score of each scaled description, ``[..., D]``, in deviations."""
        largest: Floats = ((self.scores(scaled) - self.statistics.centres) / self.statistics.spreads).max(
            axis=-1
        )
        return largest

    def scores(self, scaled: Floats) -> Floats:
        """Return the scores of scaled descriptions, ``[..., D]``, before they count in deviations: ``[..., 2 + U]``."""
        each = self.statistics
        along = scaled @ each.components.T
        near = (along**2 / each.variances).sum(axis=-1)
        far = np.maximum((scaled**2).sum(axis=-1) - (along**2).sum(axis=-1), 0)
        distances = np.log(np.stack([near, far], axis=-1) + _LEAST)
        return np.concatenate([distances, scaled @ each.directions.T], axis=-1)

    def to_bytes(self) -> bytes:
        """Return the file of the statistics: an archive of arrays, without objects. The same give the same bytes."""
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in self.statistics._asdict().items():
                data = io.BytesIO()
                np.lib.format.write_array(
                    data, array.astype(_STORED.get(name, np.float32)), allow_pickle=False
                )
                archive.writestr(zipfile.ZipInfo(f"{name}.npy", _NO_DATE), data.getvalue())
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Domain:
        """Read what :meth:`to_bytes` wrote.

        Raises:
            ValueError: If it is something else.
        """
        arrays: dict[str, Any] = {}
        with suppress(zipfile.BadZipFile, KeyError, ValueError, EOFError, NotImplementedError):
            arrays = _read(data)
        if not arrays:
            raise ValueError(_UNREADABLE)
        return cls(Statistics(**arrays))


def _read(data: bytes) -> dict[str, Floats]:
    """Read the arrays, none of which may be larger than the largest that could be meant."""
    arrays = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in Statistics._fields:
            if archive.getinfo(f"{name}.npy").file_size > _MOST_BYTES:
                return {}
            file = io.BytesIO(archive.read(f"{name}.npy"))
            arrays[name] = np.lib.format.read_array(file, allow_pickle=False).astype(np.float32)
    return arrays


def _between(levels: Floats, means: Floats, level: float) -> Floats:
    """Interpolate the means at a level, linearly."""
    right = int(np.clip(np.searchsorted(levels, level), 1, len(levels) - 1))
    left = right - 1
    share = np.clip((level - levels[left]) / (levels[right] - levels[left]), 0, 1)
    mixed: Floats = (1 - share) * means[left] + share * means[right]
    return mixed.astype(np.float32)


def _check(each: Statistics) -> None:
    count, kinds = (
        len(each.scale) if each.scale.ndim else 0,
        len(each.directions) if each.directions.ndim else 0,
    )
    shapes: dict[str, tuple[int, ...]] = {
        "levels": (len(each.levels),),
        "means": (len(each.levels), count),
        "scale": (count,),
        "components": (len(each.variances), count),
        "variances": (len(each.variances),),
        "directions": (kinds, count),
        "centres": (2 + kinds,),
        "spreads": (2 + kinds,),
        "threshold": (1,),
    }
    fits = all(array.shape == shapes[name] for name, array in each._asdict().items())
    sound = fits and count > 0 and len(each.levels) > 1 and bool((np.diff(each.levels) > 0).all())
    positive = (each.scale, each.variances, each.spreads)
    if not (
        sound
        and all(np.isfinite(array).all() for array in each)
        and all((array > 0).all() for array in positive)
    ):
        raise ValueError(_UNREADABLE)
