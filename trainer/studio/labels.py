"""Labelling: the answers and private labels of a data set, read and written a picture at a time.

Each save reads the files again, changes what belongs to one picture, and replaces each file as a whole: a process that
is killed leaves the old file or the new one, and work goes on where the first picture lacks something.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from langchain_vpp.errors import DataError
from trainer.data.review import ANSWERS
from trainer.studio.label_files import IndexFile, ReviewFiles

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.studio.label_files import Change, Given, LabelFiles, Labelled

_MOST_UNDONE = 500


class Labels:
    """The labels of a data set. Thread-safe; two people may label at once.

    Args:
        folder: Folder of ``vpp data init``, or another one with ``data.jsonl``.

    Attributes:
        folder: The argument.
        is_review: Whether the labels are in files that ``vpp data init`` takes over when it is called again.

    Raises:
        DataError: If there are no such files, or a line of them can't be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_review = (folder / ANSWERS).is_file()
        self._files: LabelFiles = ReviewFiles(folder) if self.is_review else IndexFile(folder)
        self._lock = threading.Lock()
        self._done: list[Change] = []
        self.pictures()

    def pictures(self) -> list[Labelled]:
        """Read what is said about all pictures, in the order of the files.

        Raises:
            DataError: If a line can't be read.
        """
        return self._files.pictures()

    def save(self, image: str, version: str, given: Given) -> None:
        """Write what a person says about a picture.

        Args:
            image: The picture.
            version: Version that the person has seen.
            given: The answers and labels.

        Raises:
            DataError: If the picture was changed meanwhile, or what is said can't be used. Nothing was written.
        """
        with self._lock:
            shown = next((each for each in self.pictures() if each.image == image), None)
            if shown is None or shown.version != version:
                raise DataError(
                    "somebody else has changed this picture meanwhile, so nothing was written. Look at it again."
                )
            change = self._files.write(shown, given)
            if change is not None:
                self._done = [*self._done, change][-_MOST_UNDONE:]

    def undo(self) -> str | None:
        """Take the last save back, and return its picture; ``None`` if there is none.

        Raises:
            DataError: If the picture was changed otherwise meanwhile. Nothing was written.
        """
        with self._lock:
            if not self._done:
                return None
            change = self._done.pop()
            self._files.take_back(change)
            return change.image

    def file(self, image: str) -> bytes:
        """Read the file of a picture of the data set.

        Raises:
            DataError: If the data set has no such picture, or its file is outside the folder or can't be read.
        """
        failure = "the data set has no such picture"
        if any(each.image == image for each in self.pictures()):
            path = self.folder / image
            try:
                if path.resolve().is_relative_to(self.folder.resolve()):
                    return path.read_bytes()
                failure = "it lies outside the data set's folder"
            except (OSError, ValueError) as error:
                failure = getattr(error, "strerror", None) or type(error).__name__
        raise DataError(f"the picture can't be shown: {failure}.")
