"""The pictures of a data set in the engine of words: read once, painted with any kinds shown."""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from langchain_vpp.engines.words.admitted import AdmittedKinds
from langchain_vpp.engines.words.reader import RapidReader, Word
from langchain_vpp.errors import DataError, TrainingError
from langchain_vpp.images.codec import encode_image

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from PIL import Image

    from langchain_vpp.engines.words.admitted import Layers
    from langchain_vpp.engines.words.reader import TextReader
    from langchain_vpp.engines.words.tokens import TokenSource
    from trainer.data.dataset import Dataset
    from trainer.data.format import Example

_KEPT: Final = 16
"""Pictures whose layers are kept in memory."""


class CachedReader:
    """Keeps on disk what a reader finds, so that a picture is read once, also by a resumed run.

    Args:
        reader: Reads what is not on disk. Default: :class:`~langchain_vpp.engines.words.reader.RapidReader`.
        folder: Folder of the files, one for each picture that was read. They hold the text of the pictures.
    """

    def __init__(self, reader: TextReader | None, folder: Path) -> None:
        self._reader = RapidReader() if reader is None else reader
        self._folder = folder
        self._name = str(getattr(self._reader, "version", type(self._reader).__qualname__))

    def read(self, image: Image.Image) -> Sequence[Word]:
        """Return the words of a picture; see :class:`~langchain_vpp.engines.words.reader.TextReader`."""
        about = f"{self._name}{image.size}".encode()
        path = self._folder / f"{hashlib.sha256(about + image.tobytes()).hexdigest()}.json"
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))
            return [Word(row[0], tuple(row[1]), *row[2:]) for row in rows]
        except (OSError, ValueError):  # not read yet, or cut off
            words = [Word(*each) for each in self._reader.read(image)]
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(words), encoding="utf-8")
        temporary.replace(path)
        return words


class Page(NamedTuple):
    """A picture that was read.

    Attributes:
        example: Its line in the data set.
        kinds: Kinds that it has, and that can be shown.
    """

    example: Example
    kinds: frozenset[str]


class Pages:
    """The pictures of a data set.

    Args:
        dataset: The data set.
        reader: Finds words; see :class:`CachedReader`.
        folder: Folder for what was read.
    """

    def __init__(self, dataset: Dataset, reader: TextReader | None, folder: Path) -> None:
        self._dataset = dataset
        self._examples = {example.image: example for example in dataset.examples}
        self._engine = AdmittedKinds((), reader=CachedReader(reader, folder), on_failure="cover")
        self._layers = lru_cache(_KEPT)(self._look)

    def read(self, examples: Sequence[Example], on_page: Callable[[int], None]) -> list[Page]:
        """Read pictures; those that can't be read are left out.

        Args:
            examples: Lines of the data set.
            on_page: Called with the number of pictures that were read, after each.

        Raises:
            DataError: If a file can't be used, or no picture can be read.
        """
        pages = []
        for count, example in enumerate(examples, start=1):
            _, layers = self._layers(example.image)
            if layers is not None:
                pages.append(Page(example, self._engine.kinds_in(layers)))
            on_page(count)
        if examples and not pages:
            raise DataError(
                "the words of no picture could be read; nothing was sent. Look at the reader and the pictures."
            )
        return pages

    def paint(self, page: Page, shown: Collection[str], tokens: TokenSource) -> bytes:
        """Return a picture as it is sent, with some kinds shown and all others covered by plates with tokens."""
        image, layers = self._layers(page.example.image)
        if layers is None:
            raise TrainingError("a picture that was read can't be read again; nothing more was sent. Resume.")
        return encode_image(self._engine.paint(image, layers, shown, tokens=tokens))

    def _look(self, name: str) -> tuple[Image.Image, Layers | None]:
        image = self._dataset.open_image(self._examples[name])
        return image, self._engine.look(image)
