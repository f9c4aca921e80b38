"""The report of an evaluation: its schema, and the figures that follow from it.

Accuracies are scaled: 0 is the chance floor, 1 is the accuracy on originals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from trainer.algorithms.pareto import hypervolume
from trainer.statistics import ConfidenceInterval  # noqa: TC001  pydantic reads it

if TYPE_CHECKING:
    from collections.abc import Iterable

OURS: Final = "ours"
"""Name of the engine under evaluation."""

ORIGINALS: Final = "none"
"""Name of the engine that changes nothing."""
GREY: Final = "grey"
"""Name of the engine that leaves nothing but one grey."""
STRONGEST: Final = "strongest"
"""Reader that takes each attribute from whichever of several attackers reads it best on the validation split."""


class Record(BaseModel):
    """Part of a report: frozen, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Reading(Record):
    """Accuracy of one reader at one private attribute or question, at one operating point."""

    subject: str
    """The private attribute or the question."""
    reader: str
    """Name of the attacker, or ``"chat model"``."""
    accuracy: ConfidenceInterval | None
    """Share of right readings; ``None`` where nothing was answered."""
    balanced_accuracy: float | None
    """Mean of the accuracies of the classes that occur."""
    chance: float
    """Share of the commonest class or reference answer on the test split."""
    scaled: float | None
    """Accuracy scaled to 0 at chance and 1 at the reader's accuracy on originals (at 1.0 if that wasn't measured).
    ``None`` where a reader does no better than chance on originals, which tells nothing about the protection."""
    count: int
    """Number of test images, or of answers about them, that entered the accuracy."""
    unusable: int = 0
    """Number of refusals and of answers that name no class. For a task they count as wrong. For a private attribute
    they are left out of the accuracy: a refusal protects nobody, because the next prompt may not be refused."""
    refused: int = 0
    """Number of answers that say that the model can't or won't tell."""
    class_mean_precision: ConfidenceInterval | None = None
    """Mean average precision over the classes (cMAP); ``None`` for a reader that gives no probabilities."""
    precision_floor: float | None = None
    """Class-mean precision of scores without information: the mean share of the classes."""
    class_precisions: dict[str, float] = {}
    """Average precision of every class that some but not all test images have."""


class Search(Record):
    """Search for protected pictures of people in a gallery that shows each person once."""

    gallery: Literal["originals", "protected"]
    """Pictures in the gallery: originals that the attacker has from elsewhere, or other pictures protected in the same
    way."""
    top1: ConfidenceInterval
    """Share of the pictures whose nearest picture in the gallery shows the same person."""
    top1_floor: float
    """Share that is reached by always naming the commonest person."""
    auc: ConfidenceInterval
    """Probability that a picture is nearer to its own person than to somebody else; 0.5 is chance."""
    same_picture: bool
    """Whether the gallery holds the original of every picture that is looked up, because nobody has two pictures."""
    probes: int
    """Number of pictures that are looked up."""
    people: int
    """Number of people in the gallery."""


class Restored(Record):
    """Likeness of reconstructions to the originals."""

    psnr: ConfidenceInterval
    """Peak signal-to-noise ratio, dB."""
    psnr_floor: float
    """PSNR of the mean original, taken as the guess for every picture."""
    ssim: ConfidenceInterval
    """Structural similarity; 1 is equal."""
    ssim_floor: float
    """SSIM of the mean original."""
    attributes: tuple[Reading, ...]
    """Readings of classifiers that know originals, in the reconstructions."""


class WordsRead(Record):
    """Private words or numbers that an OCR engine read."""

    subject: str
    """Name of this kind of words in the data set."""
    exact: ConfidenceInterval
    """Share of the pictures whose words were read without a mistake."""
    exact_floor: float
    """Share of the pictures in which the words of another picture were read."""
    distance: ConfidenceInterval
    """Edits to the text that was read, as a share of the word's length: 0 is read, 1 is nothing of it."""
    distance_floor: float
    """Distance to the words of another picture: a long text is never far from a short word."""
    count: int
    """Number of pictures that have such words."""


class ItemsShown(Record):
    """Number of pictures in which a reader found most of a private item."""

    subject: str
    """Kind of items, or way in which the pictures were taken."""
    pictures: int
    """Number of pictures that hold such an item."""
    shown: int
    """Number of them in which at least 60 % of the characters of an item were read, in their order."""
    by_chance: int
    """Number of them in whose text as much was found of an item of another picture."""


class OtherPictures(Record):
    """Private items that text recognisers read in pictures of a kind that the protector was not trained on."""

    kind: str
    engine: str
    """``"ours"``, ``"none"`` for originals, ``"grey"`` for pictures of one grey."""
    level: float = Field(ge=0, le=1)
    shown: ItemsShown
    """Pictures that show any of their items."""
    items: tuple[ItemsShown, ...]
    """The same for each kind of items."""
    taken: tuple[ItemsShown, ...]
    """Pictures that show any of their items, for each way in which they were taken."""


class OperatingPoint(Record):
    """One engine at one level."""

    engine: str
    """``"ours"``, or the name of a classical engine; ``"none"`` for originals."""
    level: float = Field(ge=0, le=1)
    leak: ConfidenceInterval | None
    """Mean scaled accuracy of the strongest attacker over the private attributes. The validation split decides which
    attacker is the strongest at each attribute."""
    utility: ConfidenceInterval | None
    """Mean scaled accuracy of the chat model over the questions; ``None`` without a chat model."""
    attributes: tuple[Reading, ...]
    """Readings by attacker and attribute, those of the leak first."""
    tasks: tuple[Reading, ...] = ()
    """Answers of the chat model to task questions."""
    private_answers: tuple[Reading, ...] = ()
    """Answers of the chat model about the private attributes; one reader for each style of asking."""
    identity: tuple[Search, ...] = ()
    restored: Restored | None = None
    repeated: tuple[Reading, ...] = ()
    """Readings from averages of many protected views of each picture."""
    words: tuple[WordsRead, ...] = ()

    @property
    def leading(self) -> tuple[Reading, ...]:
        """Readings of the attributes by the reader whose mean is the leak: the strongest, or the only one."""
        return tuple(each for each in self.attributes if each.reader == self.attributes[0].reader)


class QueryCount(Record):
    """Numbers of queries of an evaluation."""

    tasks: int = 0
    """Task questions."""
    private: int = 0
    """Questions about private attributes."""
    originals: int = 0
    """Questions of either kind that showed unprotected images."""
    paid: int = 0
    """Queries that were new to the ledger; the others had been answered in an earlier call."""
    lost: int = 0
    """Queries of a process that died before the answer arrived: never asked again, and in no accuracy."""


class Report(Record):
    """All results of an evaluation, with everything that is needed to repeat it."""

    format: Literal[1] = 1
    created_with: dict[str, str]
    """Package -> version."""
    artifact_digest: str
    """Digest of the artifact or engine; empty for an engine that has none."""
    data_digest: str
    """Digest of the data set."""
    seed: int
    model: str | None
    """The chat model, as the ledger names it."""
    judge: str | None = None
    """The chat model that decided which answers to open questions mean the same, as the ledger names it."""
    images: dict[str, int]
    """Split -> number of its images that were used."""
    attacker: str
    """Descriptions of the attackers and of their training."""
    task_floors: dict[str, ConfidenceInterval] = {}
    """Accuracy of guessing each private attribute from the reference answers to the tasks alone: no protector that
    keeps the tasks can go below it."""
    originals: OperatingPoint
    points: tuple[OperatingPoint, ...]
    queries: QueryCount
    other_pictures: tuple[OtherPictures, ...] = ()
    """Pictures of kinds that the protector was not trained on."""
    warnings: tuple[str, ...] = ()
    """Doubts about the figures, a sentence without a full stop each."""
    not_tested: tuple[str, ...] = ()
    """Threats and baselines that were left out."""

    @property
    def engines(self) -> tuple[str, ...]:
        """Names of the engines, the one under evaluation first."""
        return tuple(dict.fromkeys(point.engine for point in self.points))

    def of(self, engine: str) -> tuple[OperatingPoint, ...]:
        """Operating points of an engine by rising level."""
        return tuple(
            sorted((each for each in self.points if each.engine == engine), key=lambda point: point.level)
        )

    def hypervolume(self, engine: str) -> float | None:
        """Area that an engine's points dominate; ``None`` if utility wasn't measured."""
        measured = [
            (point.leak.value, point.utility.value)
            for point in self.of(engine)
            if point.leak and point.utility
        ]
        return front_hypervolume(measured) if measured else None

    @property
    def best_baseline(self) -> str | None:
        """The classical engine with the largest hypervolume."""
        known = {engine: self.hypervolume(engine) for engine in self.engines if engine != OURS}
        volumes = {engine: volume for engine, volume in known.items() if volume is not None}
        return max(volumes, key=volumes.__getitem__) if volumes else None

    @property
    def advantage(self) -> float | None:
        """Our hypervolume as a multiple of the best classical engine's; ``None`` if one is missing or zero."""
        ours, best = self.hypervolume(OURS), self.best_baseline
        theirs = self.hypervolume(best) if best else None
        return ours / theirs if ours is not None and theirs else None


def front_hypervolume(points: Iterable[tuple[float, float]]) -> float:
    """Area that scaled (leak, utility) points dominate, reference leak 1 and utility 0.

    Leaks below 0 and utilities above 1 are noise and count as these ends.
    """
    return hypervolume([(max(leak, 0.0), min(utility, 1.0)) for leak, utility in points])
