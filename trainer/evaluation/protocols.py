"""Published benchmarks: the figures of the paper, and what an evaluation has to say beside them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from langchain_vpp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.data.dataset import Dataset
    from trainer.evaluation.results import OperatingPoint, Reading

_YES: Final = "yes"


class PublishedRow(NamedTuple):
    """Figures of one method as published, per cent.

    Attributes:
        method: The method.
        utility: Accuracy of the answers; several where the paper has several settings; empty where none is known.
        leak: cMAP of the privacy attributes, likewise.
    """

    method: str
    utility: tuple[float, ...] = ()
    leak: tuple[float, ...] = ()


class Protocol(NamedTuple):
    """One benchmark.

    Attributes:
        name: Name on the command line, and of the format for ``vpp data convert``.
        utility: What its utility is.
        rows: Published figures.
        stand_ins: Where our measurement is not the published one, a sentence without a full stop each.
    """

    name: str
    utility: str
    rows: tuple[PublishedRow, ...]
    stand_ins: tuple[str, ...]


class Measured(NamedTuple):
    """Figures of an operating point in the form of a benchmark, in [0, 1].

    Attributes:
        utility: Share of right answers over all questions; ``None`` without a chat model.
        utility_floor: Share that the commonest answer to each question reaches.
        leak: cMAP: the mean of the average precisions of the attributes.
        leak_floor: Mean share of the pictures that have the attributes, which a reader without information reaches.
    """

    utility: float | None
    utility_floor: float | None
    leak: float | None
    leak_floor: float | None


_PAPER: Final = "paper (Hui et al., 2026)"
_ATTACKERS: Final = (
    "our attackers are trained anew at every level and the strongest counts; the paper's network is another"
)
_MODEL: Final = "the chat model is the one named in the report, not the paper's"
PROTOCOLS: Final[Mapping[str, Protocol]] = MappingProxyType({
    "okvqa": Protocol(
        "okvqa",
        "VQA soft accuracy",
        (PublishedRow(_PAPER, (57.6, 59.2), (44.2,)),),
        (
            _ATTACKERS,
            _MODEL,
            "the paper reports two accuracies on OK-VQA; which setting each belongs to is not known to us",
            "without the public privacy labels, 'people' (none, one, several) stands in for the seven attributes",
        ),
    ),
    "vispr": Protocol(
        "vispr",
        "accuracy on attributes that are asked for",
        (PublishedRow(_PAPER, (), (48.8, 47.9)), PublishedRow("SPAct, as the paper reports it", (), (55.9, 56.5))),
        (_ATTACKERS, _MODEL, "VISPR asks nothing: sports and landmarks stand in for questions"),
    ),
    "hmdb51": Protocol(
        "hmdb51", "top-1 of 51 actions", (PublishedRow(_PAPER, (54.3,), (59.8,)),), (_ATTACKERS, _MODEL)
    ),
    "ucf101": Protocol(
        "ucf101", "top-1 of 101 actions", (PublishedRow(_PAPER, (67.1,), (54.6,)),), (_ATTACKERS, _MODEL)
    ),
})  # fmt: skip
"""Name -> benchmark."""


def protocol_named(name: str) -> Protocol:
    """Return a benchmark.

    Raises:
        DataError: If there is none of this name.
    """
    if name not in PROTOCOLS:
        raise DataError(
            f"nothing was measured: there is no protocol {name!r}. Choose from {', '.join(PROTOCOLS)}."
        )
    return PROTOCOLS[name]


def measured(point: OperatingPoint, dataset: Dataset) -> Measured:
    """Put the figures of an operating point into the form of a benchmark.

    Args:
        point: An operating point of a report.
        dataset: The data set that it was measured on.
    """
    precisions = [_precision(reading) for reading in point.leading]
    known = [each for each in precisions if each is not None]
    answered = [each for each in point.tasks if each.accuracy is not None]
    total = sum(each.count for each in answered)
    right = sum(each.accuracy.value * each.count for each in answered if each.accuracy is not None)
    guessed = sum(each.chance * each.count for each in answered)
    return Measured(
        right / total if total else None,
        guessed / total if total else None,
        sum(known) / len(known) if known else None,
        _prevalence(dataset, [each.subject for each in point.leading]),
    )


def _precision(reading: Reading) -> float | None:
    """Return the average precision of an attribute: of having it, or the mean over the classes of one with many."""
    if set(reading.class_precisions) == {_YES, "no"}:
        return reading.class_precisions[_YES]
    values = reading.class_precisions.values()
    return sum(values) / len(values) if values else None


def _prevalence(dataset: Dataset, attributes: list[str]) -> float | None:
    """Return the mean share of the classes whose precision counts, on the test split."""
    shares = []
    for name in attributes:
        values = [each.private[name] for each in dataset.split("test") if name in each.private]
        classes = set(values)
        if classes == {_YES, "no"}:
            shares.append(values.count(_YES) / len(values))
        elif len(classes) > 1:
            shares.append(1 / len(classes))
    return sum(shares) / len(shares) if shares else None
