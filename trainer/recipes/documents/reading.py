"""Private items that text recognisers still read in protected documents."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch
from PIL import Image

from trainer.attackers.ocr import SHOWN_FROM, read_words
from trainer.data.wire import as_tensor
from trainer.evaluation.results import GREY, ORIGINALS, OURS, ItemsShown, OtherPictures
from trainer.recipes.documents.camera import CAMERAS
from trainer.recipes.documents.pages import KINDS, design_page
from trainer.sandbox.drawing.documents.browser import find_browser, render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from torch import Tensor

    from langchain_vpp.engines import Engine
    from trainer.attackers.ocr import TextReader
    from trainer.recipes.documents.camera import Shot

_STREAM: Final = 107
"""Second word of a drawing's seed."""
_GREY: Final = (128, 128, 128)
_ROUNDING: Final = 1e-6


class Document(NamedTuple):
    """Picture of a page with the private items on it."""

    kind: str
    taken: str
    """How the picture was taken; see :data:`~trainer.recipes.documents.camera.CAMERAS`."""
    shot: Shot
    items: Mapping[str, tuple[str, ...]]
    """Kind of item -> the texts of that kind."""


def draw_documents(count: int, *, seed: int) -> tuple[Document, ...]:
    """Render pages of every kind in a browser, and take their pictures in every way in turn.

    Args:
        count: Pictures of each kind.
        seed: Seed of the pages.

    Raises:
        DataError: If there is no browser, or it makes no picture.
    """
    browser, documents = find_browser(), []
    for row, kind in enumerate(KINDS):
        for number in range(count):
            generator = np.random.default_rng((seed, _STREAM, row, number))
            page = design_page(kind, generator)
            rendered = render(page.html, page.size, page.scale, browser=browser).picture
            taken = tuple(CAMERAS)[number % len(CAMERAS)]
            documents.append(Document(kind, taken, CAMERAS[taken](generator, rendered), page.items))
    return tuple(documents)


def read_documents(
    documents: Sequence[Document], engine: Engine, levels: Iterable[float], reader: TextReader
) -> tuple[OtherPictures, ...]:
    """Count the documents in which private items are still read, for each kind of document.

    Originals are the ceiling and pictures of one grey the floor.

    Args:
        documents: The documents; the next one of a kind lends the items that are looked for by chance.
        engine: The engine, which was not made for them.
        levels: Its levels.
        reader: Text reader, such as :func:`~trainer.attackers.ocr.best_readers`.

    Returns:
        Counts for each kind, on originals, at each level from the weakest, and on grey.
    """
    conditions: list[tuple[str, float, Callable[[Image.Image], Image.Image]]] = [
        (ORIGINALS, 0.0, lambda image: image),
        *((OURS, level, partial(engine.protect, level=level)) for level in sorted(set(levels))),
        (GREY, 1.0, lambda image: Image.new("RGB", image.size, _GREY)),
    ]
    found = []
    for kind in dict.fromkeys(each.kind for each in documents):
        of_kind = [each for each in documents if each.kind == kind]
        for name, level, change in conditions:
            images = [as_tensor(each.shot.upright(change(each.shot.image))) for each in of_kind]
            found.append(_count(of_kind, images, reader, (name, level)))
    return tuple(found)


def _count(
    documents: Sequence[Document], images: Sequence[Tensor], reader: TextReader, condition: tuple[str, float]
) -> OtherPictures:
    """Read documents of one kind, and count those in which items of each kind are shown."""
    most = {
        name: max(len(each.items.get(name, ())) for each in documents)
        for name in dict.fromkeys(name for each in documents for name in each.items)
    }
    words = [
        [text for name, width in most.items() for text in _padded(each.items.get(name, ()), width)]
        for each in documents
    ]
    read = read_words(images, words, reader)
    columns = torch.tensor([column for column, width in enumerate(most.values()) for _ in range(width)])
    shown, chance = (
        torch.stack([_any_near(distance[:, columns == each]) for each in range(len(most))], dim=1)
        for distance in (read.distance, read.distance_floor)
    )
    held = torch.tensor([[name in each.items for name in most] for each in documents])
    everyone, anything = torch.ones(len(documents), dtype=torch.bool), (shown.any(dim=1), chance.any(dim=1))
    taken = [each.taken for each in documents]
    return OtherPictures(
        kind=documents[0].kind,
        engine=condition[0],
        level=condition[1],
        shown=_items("any", everyone, *anything),
        items=tuple(
            _items(name, held[:, column], shown[:, column], chance[:, column])
            for column, name in enumerate(most)
        ),
        taken=tuple(
            _items(way, torch.tensor([each == way for each in taken]), *anything)
            for way in dict.fromkeys(taken)
        ),
    )


def _padded(texts: Sequence[str], width: int) -> list[str | None]:
    return [*texts, *[None] * (width - len(texts))]


def _any_near(distances: Tensor) -> Tensor:
    """Say for each row whether an item is shown; a distance that is not a number is of no item."""
    return (distances <= 1 - SHOWN_FROM + _ROUNDING).any(dim=1)


def _items(subject: str, held: Tensor, shown: Tensor, chance: Tensor) -> ItemsShown:
    return ItemsShown(
        subject=subject,
        pictures=int(held.sum()),
        shown=int((held & shown).sum()),
        by_chance=int((held & chance).sum()),
    )
