"""Manifest of an artifact: the description that lies beside its weights and graphs."""

from __future__ import annotations

import inspect
import warnings
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from langchain_vpp.errors import DomainWarning

if TYPE_CHECKING:
    from collections.abc import Mapping


_UNKNOWN_DOMAIN: Final = (
    "the domain of an artifact is unknown: an earlier version made it. It can't tell pictures that it was not made "
    "for, and may show private parts of them. Export it again with `vpp export`, which fits the domain."
)


class FrontPoint(BaseModel):
    """Measured point of the privacy-utility front."""

    model_config = ConfigDict(frozen=True)

    level: float = Field(ge=0, le=1)
    leak: float
    """Share that an attacker recovers: 0 is chance, 1 is as much as from originals; mean over private attributes."""
    utility: float
    """Share of questions that the chat model still answers: 0 is chance, 1 is every answer right."""
    answers: int = Field(default=0, ge=0)
    """Number of answers behind ``utility``; 0 if that is not known."""
    leak_interval: tuple[float, float] | None = None
    """95 % interval of ``leak`` over pictures; ``None`` if it is not known."""


class ShownKinds(BaseModel):
    """Kinds of regions that a learned admission shows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: float = Field(ge=0, le=1)
    """Highest level at which they are shown."""
    kinds: tuple[str, ...]
    """Names in :data:`langchain_vpp.engines.words.kinds.KINDS`."""


class FaceDetector(BaseModel):
    """Small face detector of an artifact; what it finds is covered beside what the network hides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source: str
    """Package that its weights come from."""
    licence: str
    threshold: float = Field(gt=0, lt=1)
    """Score from which something is taken for a face."""
    scales: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(min_length=1, max_length=8)
    """Sizes at which a picture is searched, as shares of the working resolution."""
    heads_from: float = Field(default=0.0, ge=0, le=1)
    """Level from which the whole head of a face is covered; below it the face alone."""
    sure: float = Field(default=0.0, ge=0, lt=1)
    """Score from which a finding counts by itself; a weaker one counts only where the network hides part of it, too."""


class DomainFacts(BaseModel):
    """Facts about the statistics by which an artifact tells unfamiliar pictures; the statistics lie beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int = Field(ge=1)
    """Number of pictures that they were fitted on."""
    val: int = Field(ge=1)
    """Number of other pictures on which the threshold was set."""
    covered: float = Field(ge=0, le=1)
    """Share of the latter that are taken for unfamiliar, at the worst level."""
    told_apart: dict[str, float] = {}
    """Kind of other pictures that they were fitted against -> share of new pictures of the kind that is told."""
    alike: tuple[str, ...] = ()
    """Kinds of other pictures that are too much like the familiar ones to be told from them."""


class Manifest(BaseModel):
    """Description of an artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    engine: Literal["network", "words"] = "network"
    """Engine of the artifact: a network, or the engine of words with learned kinds of words to show."""
    protector: dict[str, Any]
    """Configuration of the network: a :class:`~langchain_vpp.network.config.ProtectorConfig` in JSON."""
    face_detector: FaceDetector | None = None
    """Detector whose findings are covered too, whatever the network makes of them."""
    shown: tuple[ShownKinds, ...] = ()
    """Kinds that are shown at each level, by rising level; above the last one nothing is shown."""
    needs: dict[str, tuple[str, ...]] = {}
    """Question -> kinds that it was found to need; empty too if it needs none, or if no kinds help."""
    prices: dict[str, float] = {}
    """Kind -> privacy price of showing it."""
    private_attributes: dict[str, tuple[str, ...]]
    """Private attributes that training hides, with their classes."""
    unread: tuple[str, ...] = ()
    """Those that training could not read even from originals, and so did not learn to hide."""
    questions: tuple[str, ...]
    """Questions that training keeps answerable."""
    trained_against: str
    """Chat model that answered in training, as ``provider:name`` or a class name."""
    access: Literal["logprobs", "labels"]
    queries: int = Field(ge=0)
    """Number of paid queries of training."""
    cost_usd: float | None = None
    steps: int = Field(ge=0)
    seed: int
    data_digest: str
    """sha256 of the file ``data.jsonl`` of the data set."""
    training_digest: str = ""
    """sha256 of all pictures of the training split together; empty in artifacts of earlier versions.

    It identifies the set of pictures, not a single one. Digests of single pictures must stay out of a manifest: with
    them anybody could check whether a picture that they hold was in the training set.
    """
    started_from: str = ""
    """sha256 of the weights that training started from; empty for new weights."""
    questions_per_call: int = Field(default=1, ge=1)
    """Most questions about one picture in one request of training."""
    front: tuple[FrontPoint, ...] = ()
    front_measured_by: str = ""
    """Attacker that measured ``front``, and the split of the data."""
    presets: dict[str, float] = {}
    domain: DomainFacts | None = None
    """Facts about the pictures that the artifact was made for; ``None`` if it can't tell them from others."""
    licence: str = ""
    """Licence of the weights."""
    attribution: str = ""
    """Authors and licence of the training data."""
    created_with: str
    """Name and version of the package that wrote the artifact."""
    files: dict[str, str] = {}
    """sha256, in hex, of every other file of the artifact."""


def level_of(manifest: Manifest, level: float | str | None) -> float:
    """Return a level that is given as a number or by the name of a preset.

    Args:
        manifest: Manifest of the artifact, which has the presets.
        level: A number from 0 to 1, a preset, or ``None`` for ``balanced``, or for 0.5 if there is no such preset.

    Raises:
        ValueError: If the artifact has no preset of that name.
    """
    return level_in(manifest.presets, level)


def level_in(presets: Mapping[str, float], level: float | str | None) -> float:
    """Return a level that is given as a number or by the name of one of the presets; see :func:`level_of`."""
    if level is None:
        return presets.get("balanced", 0.5)
    if not isinstance(level, str):
        return level
    if level not in presets:
        names = ", ".join(presets) or "none"
        msg = f"the artifact has no preset {level!r}; it has {names}. Give one, or a number from 0 to 1"
        raise ValueError(msg)
    return presets[level]


@cache
def warn_once(message: str, category: type[Warning]) -> None:
    """Give a warning, once in a process, at the line that called this package."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == __package__:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def warn_of_unknown_domain(manifest: Manifest) -> None:
    """Warn, once in a process, if an artifact can't tell pictures that it was not made for.

    Args:
        manifest: Manifest of the artifact.
    """
    if manifest.engine == "network" and manifest.domain is None:
        warn_once(_UNKNOWN_DOMAIN, DomainWarning)


def warn_of_default(name: str) -> None:
    """Warn, once in a process, of which artifact ``default`` means, and that a later version will mean another.

    Args:
        name: Name of the artifact that it means.
    """
    warn_once(
        f"'default' is the artifact {name!r}, which was made for drawn staff cards with a portrait. Other pictures it "
        "covers whole, because it could show private text of them. A later version will mean an artifact for "
        f"photographs by 'default'. Name {name!r} to keep this one, or 'photographs' for photographs; for other "
        "pictures use a classical engine.",
        FutureWarning,
    )
