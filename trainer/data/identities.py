"""Identities of people in photographs: faces that a local network takes for the same person (extra ``identities``)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from langchain_vpp import extras
from trainer.data.groups import PERSON
from trainer.data.pictures import open_picture
from trainer.data.review import Said, proposed_by

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from PIL import Image

    from trainer.data.making import Asked
    from trainer.data.sources import Source

_SAME: Final = 0.45
"""Mean distance of two people's faces below which they count as one person.

The authors of the network recommend 0.6 for two frontal portraits. On 293 portraits of FairFace, all of different
people, 0.6 puts 225 into a cluster with somebody else, 0.45 puts 38, and 0.4 puts 14; photographs of one person lie
0.23 to 0.43 apart.
"""
_LONGEST: Final = 1_600
"""Longest side at which a picture is searched."""
_SMALL: Final = 800
"""Longest side up to which a picture is searched at twice its size, for faces from 40 pixels instead of 80."""
_UNDONE: Final = "nothing was written, and no faces were compared"


class Seen(NamedTuple):
    """A face in a picture."""

    area: float
    """In pixels."""
    vector: np.ndarray
    """128 numbers, which lie near those of other pictures of the same person."""


class FaceReader:
    """Finds frontal faces and describes each by 128 numbers, with the networks of dlib (King, 2009).

    The weights are those of the package ``face-recognition-models``, in the public domain. Nothing leaves the process,
    and nothing is kept.

    Raises:
        MissingExtraError: If the extra ``identities`` is missing.
    """

    def __init__(self) -> None:
        dlib = extras.load("dlib", extra="identities", undone=_UNDONE)
        models = extras.folder("face_recognition_models", extra="identities", undone=_UNDONE) / "models"
        self._find: Any = dlib.get_frontal_face_detector()
        self._align: Any = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
        self._describe: Any = dlib.face_recognition_model_v1(
            str(models / "dlib_face_recognition_resnet_model_v1.dat")
        )

    def __call__(self, image: Image.Image) -> list[Seen]:
        """Describe the faces of an RGB picture."""
        small = image.copy()
        small.thumbnail((_LONGEST, _LONGEST))
        pixels = np.asarray(small)
        boxes = self._find(pixels, int(max(small.size) <= _SMALL))
        return [
            Seen(
                float(box.area()),
                np.array(self._describe.compute_face_descriptor(pixels, self._align(pixels, box))),
            )
            for box in boxes
        ]


@dataclass(frozen=True)
class IdentityProposals:
    """Proposes the private attribute ``person`` for people who are seen in several pictures.

    A picture with several of them is named after the one whose face is largest. Whoever is seen in one picture only
    gets no name. When it is called again, people keep their names, also those that somebody has given them.

    Attributes:
        out: Folder of the data set.
        see: Returns the faces of a picture; see :class:`FaceReader`.
        progress: Called with the number of pictures that are done, and of all.
    """

    out: Path
    see: Callable[[Image.Image], Sequence[Seen]]
    progress: Callable[[int, int], None]

    def __call__(
        self, sources: Sequence[Source], questions: Sequence[Asked], known: Sequence[Said]
    ) -> list[Said]:
        """Name the people of pictures that have no such label."""
        del questions
        labels = {each.image: each.value for each in known if each.what == PERSON}
        if all(source.image in labels for source in sources):
            return []
        faces: list[tuple[str, Seen]] = []
        for number, source in enumerate(sources, 1):
            faces += [(source.image, seen) for seen in self.see(open_picture(self.out / source.image))]
            self.progress(number, len(sources))
        people = _people(faces, cluster_faces([seen.vector for _, seen in faces]))
        names = _names(people, labels)
        return [
            Said(image, PERSON, names[cluster], proposed_by("dlib"))
            for image, cluster in people.items()
            if image not in labels
        ]


def cluster_faces(vectors: Sequence[np.ndarray]) -> list[int]:
    """Group faces that are taken for the same person, by average linkage.

    Args:
        vectors: Descriptions of faces, each of the same length.

    Returns:
        A number for each face; those of one person have the same one. It depends on no order but that of the numbers.
    """
    if len(vectors) < 2:
        return list(range(len(vectors)))
    hierarchy = extras.load("scipy.cluster.hierarchy", extra="data", undone=_UNDONE)
    tree = hierarchy.linkage(np.stack(vectors), method="average")
    numbers: list[int] = hierarchy.fcluster(tree, _SAME, criterion="distance").tolist()
    return numbers


def _people(faces: Sequence[tuple[str, Seen]], clusters: Sequence[int]) -> dict[str, int]:
    """Choose the person of each picture, by its largest face, and leave out who is chosen once only."""
    ordered = sorted(zip(faces, clusters, strict=True), key=lambda pair: pair[0][1].area)
    everywhere = Counter(cluster for _, cluster in {(face[0], cluster) for face, cluster in ordered})
    chosen = {face[0]: cluster for face, cluster in ordered if everywhere[cluster] > 1}
    counts = Counter(chosen.values())
    return {image: cluster for image, cluster in sorted(chosen.items()) if counts[cluster] > 1}


def _names(people: Mapping[str, int], labels: Mapping[str, str]) -> dict[int, str]:
    """Name each person as most of their pictures are labelled, or by the next number."""
    told: dict[int, Counter[str]] = {cluster: Counter() for cluster in people.values()}
    for image, cluster in people.items():
        if labels.get(image):
            told[cluster][labels[image]] += 1
    numbers = (name for number in count(1) if (name := f"person {number}") not in labels.values())
    return {
        cluster: min(votes, key=lambda name: (-votes[name], name)) if votes else next(numbers)
        for cluster, votes in told.items()
    }
