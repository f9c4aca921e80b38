"""Out of distribution: the staff cards' protector on pictures unlike those that it has learned from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont

from trainer.reporting.files import writing
from trainer.sandbox.drawing.cards import CARD_TASKS, CARD_VIEW, TEXTS, draw_card
from trainer.sandbox.drawing.portraits import read_portraits
from trainer.sandbox.drawing.scenes import draw_scene
from trainer.sandbox.vision.card_model import CARDS
from trainer.sandbox.vision.local_model import to_tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from langchain_vpp.image_protector import ImageProtector
    from trainer.sandbox.drawing.cards import Card
    from trainer.sandbox.vision.local_model import LocalVisionModel

_STREAM: Final = 105
"""Second word of a drawing's seed."""
_GREY: Final = 128
_STANDS_OUT: Final = 30
"""Distance from mid-grey, in grey levels, above which a pixel shows something."""
_MOST: Final = 0.2
"""Share of a part's pixels that may show something before the part counts as shown."""
_FRAME: Final = (640, 448)
"""Width and height of a picture that a card fills in part."""
_PAGE: Final = (800, 1040)


class Seen(NamedTuple):
    """Measurements of one kind of picture."""

    kind: str
    pictures: int
    stands_out: float
    """Share of the pixels that differ from the grey of closed masks, mean over the pictures."""
    fields: float | None = None
    """Share of the four fields that the local vision model reads after the picture was turned back and cropped to the
    card; ``None`` for pictures of other things."""
    private: float | None = None
    """Share of the cards on which more than a fifth of a name, a number, a birth date or a portrait is shown."""


def save_seen(seen: Sequence[Seen], path: Path) -> None:
    """Write measurements as JSON.

    Raises:
        TrainingError: If the file can't be written.
    """
    with writing("measurements", path):
        text = json.dumps([each._asdict() for each in seen], indent=2)
        path.write_text(text + "\n", encoding="utf-8")


def load_seen(path: Path) -> tuple[Seen, ...]:
    """Read what :func:`save_seen` wrote."""
    return tuple(Seen(**each) for each in json.loads(path.read_bytes()))


@dataclass(frozen=True)
class _Change:
    """A change of a card's picture before protection, and its inverse."""

    kind: str
    there: Callable[[Image.Image], Image.Image]
    back: Callable[[Image.Image], Image.Image]


def _scaled(factor: int) -> _Change:
    size = (factor * CARD_VIEW[0], factor * CARD_VIEW[1])
    return _Change(
        f"staff card, {factor} times as large",
        lambda image: image.resize(size, Image.Resampling.LANCZOS),
        lambda image: image,
    )


def _turned(degrees: int) -> _Change:
    return _Change(
        f"staff card, turned by {degrees} degrees",
        lambda image: image.rotate(degrees, expand=True),
        lambda image: image.rotate(-degrees, expand=True),
    )


def _smaller(share: float) -> _Change:
    size = (round(share * _FRAME[0]), round(share * _FRAME[1]))
    left, top = ((whole - part) // 2 for whole, part in zip(_FRAME, size, strict=True))

    def there(image: Image.Image) -> Image.Image:
        around = Image.new("RGB", _FRAME, image.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)))
        around.paste(image.resize(size, Image.Resampling.LANCZOS), (left, top))
        return around

    return _Change(
        f"staff card that takes {share:.0%} of each side",
        there,
        lambda image: image.crop((left, top, left + size[0], top + size[1])),
    )


_CHANGES: Final = (
    _Change("staff card as in training", lambda image: image, lambda image: image),
    _scaled(4),
    _smaller(0.8),
    _smaller(0.6),
    _smaller(0.4),
    _turned(90),
    _turned(180),
)


def out_of_distribution(
    faces: Path, protector: ImageProtector, vision: LocalVisionModel, *, count: int, seed: int
) -> tuple[Seen, ...]:
    """Protect cards that are larger, smaller or turned, and pictures of other things, and measure what is shown.

    Args:
        faces: Portraits; see :mod:`trainer.sandbox.drawing.portraits`. Only those for testing are used.
        protector: The protector, at the level to measure.
        vision: Local vision model that reads the fields of cards.
        count: Pictures of each kind.
        seed: Seed of the drawings.

    Raises:
        DataError: If the portraits can't be used.
    """
    portraits = read_portraits(faces)["test"]
    generators = [np.random.default_rng((seed, _STREAM, number)) for number in range(count)]
    chosen = [portraits[int(each.integers(len(portraits)))] for each in generators]
    opened = [portrait.open().convert("RGB") for portrait in chosen]
    cards = [
        draw_card(generator, face, portrait.attributes)
        for generator, face, portrait in zip(generators, opened, chosen, strict=True)
    ]
    others = {
        "portrait alone": opened,
        "drawn scene": [draw_scene(generator)[0].resize((448, 448)) for generator in generators],
        "page of words": [_page(card) for card in cards],
    }
    return (
        *(_cards(change, cards, protector, vision) for change in _CHANGES),
        *(
            Seen(
                kind,
                count,
                float(np.mean([_stands_out(protector.protect_image(image)).mean() for image in images])),
            )
            for kind, images in others.items()
        ),
    )


def _cards(
    change: _Change, cards: Sequence[Card], protector: ImageProtector, vision: LocalVisionModel
) -> Seen:
    shown = [
        change.back(protector.protect_image(change.there(card.image))).resize(
            CARD_VIEW, Image.Resampling.LANCZOS
        )
        for card in cards
    ]
    believed = vision.log_probabilities(torch.stack([to_tensor(image, CARDS.size) for image in shown]))
    right = [
        CARDS.choices[name][index] == card.labels[name]
        for name in CARD_TASKS
        for index, card in zip(believed[name].argmax(1).tolist(), cards, strict=True)
    ]
    given_away = [
        any(part_shown(card, image, name) > _MOST for name in ("portrait", *TEXTS))
        for card, image in zip(cards, shown, strict=True)
    ]
    out = [_stands_out(image).mean() for image in shown]
    return Seen(
        change.kind, len(cards), float(np.mean(out)), float(np.mean(right)), float(np.mean(given_away))
    )


def part_shown(card: Card, image: Image.Image, name: str) -> float:
    """Return the share of the pixels of a card's part that differ from the grey of closed masks.

    Args:
        card: The card as it was drawn.
        image: Its picture, protected.
        name: One of the card's boxes.
    """
    mask = Image.new("1", image.size)
    ImageDraw.Draw(mask).polygon(card.outline(name), fill=1)
    return float(_stands_out(image)[np.asarray(mask)].mean())


def _stands_out(image: Image.Image) -> npt.NDArray[np.bool_]:
    farthest: npt.NDArray[np.int_] = np.abs(np.asarray(image.convert("RGB"), dtype=int) - _GREY).max(axis=2)
    return farthest > _STANDS_OUT


def _page(card: Card) -> Image.Image:
    """Print the texts of a card in lines, as in a letter or on a screen."""
    page = Image.new("RGB", _PAGE, "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(22)
    lines = [f"{name.capitalize()}: {text}" for name, text in {**card.texts, **card.labels}.items()]
    for number in range(32):
        pen.text((48, 32 + 30 * number), "   ".join(lines[number % 3 :: 3]), fill="black", font=font)
    return page
