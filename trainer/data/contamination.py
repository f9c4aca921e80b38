"""Train-test overlap: refuses to measure an artifact on pictures that it was trained on.

A manifest holds one digest for all training pictures together. The digests of the single pictures stay in the folder of
the run, in the file :data:`TRAINING_PICTURES`, and are no part of the artifact: with them anybody can check for any
picture that they hold whether it was in the training set. Keep the file as private as the ledger beside it.

Digests are of files. A picture that was encoded again, cropped or scaled is another file and is not found.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from langchain_vpp.errors import DataError, TrainingError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from langchain_vpp.artifact import Manifest
    from trainer.data.dataset import Dataset
    from trainer.data.format import Split

TRAINING_PICTURES: Final = "training_pictures.txt"
"""Name of the file with the sha256 of each training picture's file, in hex, sorted, one a line.

The manifest has the sha256 of this file.
"""

_DIGESTS: Final = re.compile(r"(?:[0-9a-f]{64}\n)*")


def training_digest(pictures: Collection[str]) -> str:
    """Digest of a set of pictures.

    Args:
        pictures: Digests of their files; see :meth:`~trainer.data.dataset.Dataset.picture_digests`.

    Returns:
        sha256, in hex, over the sorted digests; a picture that occurs twice counts once.
    """
    return hashlib.sha256(_lines(pictures)).hexdigest()


def note_training_pictures(folder: Path, pictures: Collection[str]) -> str:
    """Write :data:`TRAINING_PICTURES` into the folder of a run, and return the digest for the manifest.

    Raises:
        TrainingError: If the file can't be written.
    """
    failure = ""
    path = folder / TRAINING_PICTURES
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_bytes(_lines(pictures))
        temporary.replace(path)
    except OSError as error:
        failure = error.strerror or type(error).__name__
    if failure:
        raise TrainingError(
            f"{path} was not written: {failure}. The run is saved: free the disk, then resume."
        )
    return training_digest(pictures)


def check_unseen(folder: Path, manifest: Manifest, dataset: Dataset, split: Split = "test") -> str | None:
    """Refuse to measure an artifact on pictures that it was trained on.

    The manifest tells whether the split is the whole training set. Whether single pictures of the split were in the
    training set can be told in two cases: in the folder of the run, by :data:`TRAINING_PICTURES`, and where the data
    set's training split is the one that the artifact was trained on.

    Args:
        folder: Folder of the artifact.
        manifest: Manifest of the artifact.
        dataset: Data set to measure on.
        split: Split to measure on.

    Returns:
        A warning, a sentence without a full stop, where it can't be told; ``None`` where no picture was seen.

    Raises:
        DataError: If training saw pictures of the split, a picture can't be read, or :data:`TRAINING_PICTURES` is not
            the file that the manifest describes.
    """
    if not manifest.training_digest:
        # An artifact of an earlier version; no two splits of its own data set have a file in common.
        return None if manifest.data_digest == dataset.digest else _CANNOT_TELL
    asked_about = dataset.picture_digests(split)
    if training_digest(asked_about) == manifest.training_digest:
        raise DataError(
            f"the artifact was trained on the pictures of this data set's {split} split, so nothing was measured. "
            "Measure it on pictures that training did not see."
        )
    trained_on = _noted(folder, manifest)
    if trained_on is None:
        trained_on = dataset.picture_digests("train")
        if training_digest(trained_on) != manifest.training_digest:
            return _CANNOT_TELL
    seen = len(asked_about & trained_on)
    if seen:
        raise DataError(
            f"the artifact was trained on {seen} of the {len(asked_about)} pictures of this data set's {split} split, "
            "so nothing was measured. Remove them from it."
        )
    return _STARTED if manifest.started_from else None


_CANNOT_TELL: Final = (
    "the artifact was trained on another data set: whether its training saw the test images of this one, "
    "and so flatters what is measured here, can't be told"
)

_STARTED: Final = (
    "the artifact's training started from weights that had learned before: "
    "whether those saw the test images can't be told"
)


def _noted(folder: Path, manifest: Manifest) -> frozenset[str] | None:
    """Digests of the training pictures, if the artifact lies in the folder of its run."""
    path = folder / TRAINING_PICTURES
    if not path.exists():
        return None
    failure = ""
    try:
        content = path.read_bytes()
    except OSError as error:
        failure = error.strerror or type(error).__name__
    else:
        text = content.decode("ascii", errors="replace")
        if hashlib.sha256(content).hexdigest() == manifest.training_digest and _DIGESTS.fullmatch(text):
            return frozenset(text.split())
        failure = "it is not the file that the manifest describes"
    raise DataError(
        f"{path} can't be used: {failure}. Nothing was measured; put it right, or remove it if the run was another one."
    )


def _lines(pictures: Collection[str]) -> bytes:
    return "".join(f"{each}\n" for each in sorted(set(pictures))).encode()
