"""Usefulness of protected photographs: answers of the photo model, captions, and objects of another detector."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import numpy as np
import torch

from langchain_vpp.images.codec import decode_image, encode_image
from trainer.evaluation.results import Record
from trainer.oracle.query import Query
from trainer.oracle.scoring import accuracy, normalise
from trainer.runtime.rng import keyed_generator
from trainer.sandbox.vision.photos.names import CLASSES
from trainer.sandbox.vision.photos.tasks import TOPICS, Topic, tasks_of
from trainer.statistics import ConfidenceInterval, bootstrap_mean, interval, mean_precision, resampled_means

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy.typing as npt
    from PIL import Image
    from torch import Tensor

    from trainer.sandbox.drawing.photographs import Photograph
    from trainer.sandbox.vision.photo_model import PhotoModel
    from trainer.sandbox.vision.photos.tasks import PhotoTask

    Protect = Callable[[Image.Image], Image.Image]

ORIGINALS: Final = "originals"
"""Name of the condition without protection."""
CAPTIONS: Final = 4
"""Captions among which the one that fits is chosen."""
_BEGINNING: Final = 3
"""Words of a question by which :func:`floors_of` groups it."""
_TRIED: Final = 10
"""Most frequent answers that are tried as the one to all questions."""


class OtherDetector(Protocol):
    """A detector that the photo model does not use."""

    def certainties(self, image: Image.Image) -> npt.NDArray[np.float32]:
        """Return the certainty of each of COCO's classes, ``[80]``."""
        ...


class Topical(Record):
    """Answers about one topic under one condition."""

    questions: int
    accuracy: ConfidenceInterval
    """Mean score; the VQA soft score for ``okvqa``."""
    kept: ConfidenceInterval | None
    """Score relative to that of originals; ``None`` if nothing is answered about these."""


class Kept(Record):
    """What is kept under one condition."""

    condition: str
    topics: dict[Topic, Topical]
    caption: Topical | None
    """Choosing the one of four captions that fits."""
    objects_found: ConfidenceInterval | None
    """Mean average precision of the other detector, over the classes of which a picture is annotated."""


class Floors(Record):
    """Scores that need no picture."""

    constant: float
    """Score of the one answer that suits most questions of the topic."""
    blind: float
    """Score of the answer that suits most questions of the same beginning about other pictures."""


class KeptReport(Record):
    """Result of :func:`measure_kept`."""

    photographs: int
    floors: dict[Topic, Floors]
    conditions: tuple[Kept, ...]

    def as_markdown(self) -> str:
        """Write the accuracy of each condition, and in brackets what it is of that of originals."""
        topics = list(self.floors)
        head = ["condition", *topics, "caption of four", "other detector, mAP"]
        rows = [head, ["---"] * len(head)]
        constant = [f"{self.floors[each].constant:.3f}" for each in topics]
        rows.append(["one answer to all", *constant, f"{1 / CAPTIONS:.3f}", ""])
        rows.append(["the question alone", *(f"{self.floors[each].blind:.3f}" for each in topics), "", ""])
        for each in self.conditions:
            cells = [*(each.topics.get(topic) for topic in topics), each.caption]
            found = "" if each.objects_found is None else str(each.objects_found)
            rows.append([each.condition, *map(_cell, cells), found])
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(found: Topical | None) -> str:
    if found is None:
        return ""
    kept = (
        ""
        if found.kept is None
        else f"; {found.kept.value:.0%} [{found.kept.low:.0%}, {found.kept.high:.0%}]"
    )
    return f"{found.accuracy.value:.3f}{kept}"


class _Asked(NamedTuple):
    """A question, and its picture's number."""

    picture: int
    task: PhotoTask


class _Scores(NamedTuple):
    """Everything that was scored under one condition."""

    answers: list[float]
    captions: list[float]
    """For each picture; NaN if it has no caption."""
    objects: list[npt.NDArray[np.float32]]
    """Certainties of the other detector for each picture that is annotated."""


def measure_kept(
    photographs: Sequence[Photograph],
    protections: Mapping[str, Protect],
    model: PhotoModel,
    *,
    other: OtherDetector | None = None,
    topics: Sequence[Topic] = TOPICS,
    seed: int = 0,
    progress: Callable[[str, int], object] = lambda condition, done: None,  # noqa: ARG005  named for callers
) -> KeptReport:
    """Measure what protected photographs are still good for.

    Pictures are encoded and decoded again, as they reach a provider; originals too.

    Args:
        photographs: Photographs with annotations.
        protections: Name of a condition -> function that protects a picture.
        model: Answers the questions.
        other: Detector that the model does not use.
        topics: Topics of the questions that are asked.
        seed: Draws the classes that are asked about, the other captions, and the resamples of intervals.
        progress: Called with the condition and the number of pictures done.

    Returns:
        The report; its first condition is :data:`ORIGINALS`.
    """
    asked = [
        _Asked(number, task)
        for number, each in enumerate(photographs)
        for task in tasks_of(each.known, each.size, np.random.default_rng((seed, number)))
        if task.topic in topics
    ]
    captions = _captions(photographs, seed)
    scores: dict[str, _Scores] = {}
    for condition, protect in {ORIGINALS: lambda image: image, **protections}.items():
        scored = _Scores([], [], [])
        by_picture = _grouped(asked)
        for number, each in enumerate(photographs):
            seen = decode_image(encode_image(protect(each.open())))
            for task in by_picture[number]:
                reply = model.answer(seen, Query(b"", task.question, task.choices).prompt)
                scored.answers.append(
                    accuracy(reply.text, task.answer, choices=task.choices, answers=task.answers)
                )
            fits = model.view(seen).fit(captions[number]) if captions[number] else []
            scored.captions.append(float(fits[0] > max(fits[1:])) if fits else float("nan"))
            if other is not None and each.known.objects is not None:
                scored.objects.append(other.certainties(seen))
            progress(condition, number + 1)
        scores[condition] = scored
    return _report(photographs, asked, scores, seed)


def _grouped(asked: Sequence[_Asked]) -> Mapping[int, list[PhotoTask]]:
    found: dict[int, list[PhotoTask]] = defaultdict(list)
    for each in asked:
        found[each.picture].append(each.task)
    return found


def _captions(photographs: Sequence[Photograph], seed: int) -> list[tuple[str, ...]]:
    """Return a caption of each picture and three of others, none if it has none."""
    known = [number for number, each in enumerate(photographs) if each.known.captions]
    found: list[tuple[str, ...]] = []
    for number, each in enumerate(photographs):
        others = [place for place in known if place != number]
        if not each.known.captions or len(others) < CAPTIONS - 1:
            found.append(())
            continue
        generator = np.random.default_rng((seed, number, 1))
        drawn = generator.choice(others, CAPTIONS - 1, replace=False).tolist()
        found.append((each.known.captions[0], *(photographs[place].known.captions[0] for place in drawn)))
    return found


def _report(
    photographs: Sequence[Photograph], asked: Sequence[_Asked], scores: Mapping[str, _Scores], seed: int
) -> KeptReport:
    topics = [topic for topic in TOPICS if any(each.task.topic == topic for each in asked)]
    first = scores[ORIGINALS]
    conditions = []
    for name, scored in scores.items():
        found: dict[Topic, Topical] = {}
        for topic in topics:
            rows = [place for place, each in enumerate(asked) if each.task.topic == topic]
            groups = _numbered([asked[place].picture for place in rows])
            found[topic] = _topical(
                [scored.answers[place] for place in rows],
                [first.answers[place] for place in rows],
                groups,
                seed,
            )
        rows = [place for place, value in enumerate(first.captions) if value == value]  # noqa: PLR0124  not NaN
        caption = None
        if rows:
            groups = torch.arange(len(rows))
            caption = _topical(
                [scored.captions[place] for place in rows],
                [first.captions[place] for place in rows],
                groups,
                seed,
            )
        conditions.append(
            Kept(
                condition=name, topics=found, caption=caption, objects_found=_found(photographs, scored, seed)
            )
        )
    return KeptReport(
        photographs=len(photographs),
        floors={topic: floors_of([each for each in asked if each.task.topic == topic]) for topic in topics},
        conditions=tuple(conditions),
    )


def _topical(scores: Sequence[float], first: Sequence[float], groups: Tensor, seed: int) -> Topical:
    columns = torch.tensor([scores, first]).T
    means = resampled_means(columns, groups, keyed_generator(seed, "kept"))
    kept = interval(means[:, 0] / means[:, 1]) if float(means[0, 1]) > 0 else None
    mean = bootstrap_mean(columns[:, 0], groups, generator=keyed_generator(seed, "kept"))
    return Topical(questions=len(scores), accuracy=mean, kept=kept)


def _found(photographs: Sequence[Photograph], scored: _Scores, seed: int) -> ConfidenceInterval | None:
    if not scored.objects:
        return None
    annotated = [each.known.objects for each in photographs if each.known.objects is not None]
    there = [[name in {each.name for each in objects} for name in CLASSES] for objects in annotated]
    return mean_precision(
        torch.from_numpy(np.stack(scored.objects)),
        torch.tensor(there),
        torch.arange(len(there)),
        generator=keyed_generator(seed, "kept"),
    )


def _numbered(pictures: Sequence[int]) -> Tensor:
    order = {picture: place for place, picture in enumerate(dict.fromkeys(pictures))}
    return torch.tensor([order[picture] for picture in pictures])


def floors_of(asked: Sequence[_Asked]) -> Floors:
    """Score answers that need no picture to the questions of one topic, at least one."""
    known = _votes(each.task for each in asked)
    best = max(sum(_score(answer, each.task) for each in asked) for answer in _most_frequent(known))
    total = 0.0
    for each in asked:
        others = [other.task for other in asked if other.picture != each.picture]
        votes = _votes(other for other in others if _beginning(other) == _beginning(each.task)) or _votes(
            others
        )
        if votes:
            total += _score(max(votes, key=votes.__getitem__), each.task)
    return Floors(constant=best / len(asked), blind=total / len(asked))


def _votes(tasks: Iterable[PhotoTask]) -> Counter[str]:
    return Counter(normalise(answer) for task in tasks for answer in task.answers or (task.answer,))


def _most_frequent(votes: Counter[str]) -> list[str]:
    return [answer for answer, _ in votes.most_common(_TRIED)]


def _score(answer: str, task: PhotoTask) -> float:
    return accuracy(answer, task.answer, choices=task.choices, answers=task.answers)


def _beginning(task: PhotoTask) -> tuple[str, ...]:
    return tuple(task.question.lower().split()[:_BEGINNING])
