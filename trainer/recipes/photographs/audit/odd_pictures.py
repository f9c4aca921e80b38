"""Pictures that are unlike most photographs: what becomes of each kind is measured, not promised."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from langchain_vpp.engines.engine import judged_by
from trainer.recipes.photographs.audit.measures import grey_share
from trainer.recipes.photographs.audit.pasted import PastedFace, PastedPicture, paste_people
from trainer.sandbox.drawing.other_kinds import OTHER_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from langchain_vpp.engines import Engine
    from trainer.recipes.photographs.audit.pasted import Person
    from trainer.sandbox.drawing.photographs import Photograph

_EACH: Final = 24
"""Pictures of a kind."""
_COVERED: Final = 0.9
_ANIMALS: Final = frozenset(
    ("cat", "dog", "horse", "cow", "sheep", "bear", "elephant", "zebra", "giraffe", "bird")
)


class Odd(NamedTuple):
    """One kind of pictures, with the places of what must vanish there."""

    name: str
    pictures: Sequence[Image.Image]
    faces: Sequence[Sequence[tuple[float, float, float, float]]]
    """Boxes of faces in each picture."""


def odd_pictures(photographs: Sequence[Photograph], people: Sequence[Person], seed: int) -> Iterator[Odd]:
    """Make pictures of every kind.

    Args:
        photographs: Photographs of the test split.
        people: Portraits of people whom training never saw.
        seed: Seed of sizes and places.
    """
    pasted = paste_people(photographs, people, _EACH, seed)
    for name, change in _CHANGES.items():
        yield _changed(name, pasted, change)
    yield _changed("faces behind a mask", pasted, None, _masked)
    yield _changed("number plates, which count as faces here", _plates(photographs), None)
    plain = [photograph.open() for photograph in islice(photographs, _EACH)]
    yield _without_faces("photographs", plain)
    yield _without_faces("32 pixels", [picture.resize((32, 24)) for picture in plain])
    yield _without_faces("very wide", [picture.crop((0, 100, picture.width, 140)) for picture in plain])
    animals = [
        photograph.open()
        for photograph in photographs
        if any(each.name in _ANIMALS for each in photograph.known.objects or ())
    ]
    yield _without_faces("animals", animals[:_EACH])
    generator = np.random.default_rng(seed)
    for name, make in OTHER_KINDS.items():
        yield _without_faces(name, [make(picture, generator) for picture in plain])


def look_at(odd: Odd, engine: Engine, level: float) -> dict[str, Any]:
    """Protect the pictures of a kind, and return what became of them.

    Args:
        odd: The kind.
        engine: The engine.
        level: Its level.
    """
    familiar, grey, covered = [], [], []
    for picture, faces in zip(odd.pictures, odd.faces, strict=True):
        shown, known = judged_by(engine, picture, level)
        pixels = np.asarray(shown)
        familiar.append(known)
        grey.append(grey_share(pixels, (0, 0, *shown.size)))
        covered += [grey_share(pixels, face) >= _COVERED for face in faces]
    return {
        "kind": odd.name,
        "pictures": len(odd.pictures),
        "covered whole": 1 - float(np.mean(familiar)),
        "grey where it is not": float(np.mean(grey)),
        "faces": len(covered),
        "faces covered, were it not": float(np.mean(covered)) if covered else None,
    }


def _changed(
    name: str,
    pasted: Sequence[PastedPicture],
    change: Callable[[Image.Image], Image.Image] | None,
    hide: Callable[[Image.Image, tuple[float, float, float, float]], None] | None = None,
) -> Odd:
    pictures = []
    for drawn in pasted:
        picture = drawn.image.copy()
        for face in drawn.faces if hide is not None else ():
            assert hide is not None
            hide(picture, face.box)
        pictures.append(picture if change is None else change(picture))
    return Odd(name, pictures, [[face.box for face in drawn.faces] for drawn in pasted])


def _without_faces(name: str, pictures: Sequence[Image.Image]) -> Odd:
    return Odd(name, pictures, [()] * len(pictures))


def _masked(picture: Image.Image, box: tuple[float, float, float, float]) -> None:
    left, top, right, bottom = box
    ImageDraw.Draw(picture).rectangle((left, (top + bottom) / 2, right, bottom), fill=(90, 150, 190))


def _plates(photographs: Sequence[Photograph]) -> list[PastedPicture]:
    drawn = []
    for number, photograph in enumerate(islice(photographs, _EACH)):
        picture = photograph.open()
        left, top = 60 + 9 * number, picture.height // 2
        box = (left, top, left + 150, top + 36)
        draw = ImageDraw.Draw(picture)
        draw.rectangle(box, fill=(245, 245, 235), outline=(10, 10, 10), width=2)
        draw.text(
            (left + 12, top + 4),
            f"AB {1234 + 37 * number}",
            font=ImageFont.load_default(24),
            fill=(10, 10, 10),
        )
        drawn.append(PastedPicture(picture, (PastedFace(box, 0, 36.0, {}),), dark=False))
    return drawn


_CHANGES: Final[Mapping[str, Callable[[Image.Image], Image.Image]]] = {
    "pasted faces": lambda picture: picture,
    "black and white": lambda picture: picture.convert("L").convert("RGB"),
    "night": lambda picture: picture.point(lambda value: value // 6),
    "negative, as an X-ray is": lambda picture: ImageOps.invert(picture.convert("L").convert("RGB")),
    "blurred": lambda picture: picture.resize((picture.width // 4, picture.height // 4)).resize(picture.size),
}
