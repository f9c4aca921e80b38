"""Pictures of other kinds than an artifact was made for: how many are covered, and what the others still show."""

from __future__ import annotations

from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from langchain_vpp.artifact import level_of, load_artifact
from langchain_vpp.batch import PICTURE_SUFFIXES
from langchain_vpp.engines.engine import judged_by
from langchain_vpp.errors import DataError
from langchain_vpp.images.codec import decode_image, encode_image
from trainer.attackers.ocr import SHOWN_FROM, read_words
from trainer.data.annotated import ANNOTATIONS, load_annotated
from trainer.data.wire import as_tensor
from trainer.evaluation.results import Record
from trainer.runtime.cancellation import while_wanted
from trainer.sandbox.drawing.documents.browser import find_browser
from trainer.sandbox.drawing.documents.pages import draw_document
from trainer.sandbox.drawing.other_kinds import OTHER_KINDS
from trainer.sandbox.drawing.pages_of_words import PAGES
from trainer.sandbox.drawing.scenes import draw_scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from langchain_vpp.engines import Engine
    from trainer.attackers.ocr import TextReader
    from trainer.data.dataset import Dataset
    from trainer.sandbox.drawing.documents.pages import Taken

FAMILIAR: Final = "familiar"
"""Name of the row of pictures that the artifact was made for."""
_STREAM: Final = 127
"""Second word of a drawing's seed."""
_DOCUMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "letters": ("letter", "letter_german", "letter_french", "invoice"),
    "chats": ("chat", "phone_chat", "channels"),
    "tables": ("crm_table", "sheet", "statement", "user_admin"),
    "cards of other designs": ("id_card", "member_card"),
    "screens": ("hotel_booking", "clinic_portal", "mail_client", "settings"),
}
"""Kind of documents that a browser renders -> their layouts."""
_TAKEN: Final[tuple[Taken, ...]] = ("screen", "photo", "scan")
_SCENE_SIDE: Final = 448


class UnfamiliarKind(Record):
    """What becomes of pictures of one kind."""

    kind: str
    pictures: int
    covered: int
    """Number of them that are covered, at the level of the report."""
    covered_least: int
    """Number of them that are covered at level 0."""
    private: int
    """Number of them that hold private text that is known."""
    shown: int | None
    """Number of the latter in which at least 60 % of the characters of a private text are read, in their order, at the
    level of the report; ``None`` if nothing was read."""
    fitted_against: bool
    """Whether the statistics of the domain were fitted against this kind."""


class UnfamiliarReport(Record):
    """What becomes of pictures of kinds that an artifact was not made for."""

    artifact_digest: str
    level: float
    """Level at which pictures were protected."""
    seed: int
    kinds: tuple[UnfamiliarKind, ...]
    warnings: tuple[str, ...] = ()
    """Doubts about the figures, a sentence without a full stop each."""


class OtherPicture(NamedTuple):
    """A picture, and the private text in it."""

    image: Image.Image
    private: tuple[str, ...] = ()
    turned: int = 0
    """Degrees, counterclockwise, by which it was turned."""


def measure_unfamiliar(
    source: str | Path,
    *,
    dataset: Dataset | None = None,
    folder: Path | None = None,
    count: int = 24,
    seed: int = 0,
    reader: TextReader | None = None,
    progress: Callable[[str, int], object] = lambda kind, done: None,  # noqa: ARG005  named for callers
) -> UnfamiliarReport:
    """Protect pictures of other kinds, drawn and given, and count those that are covered or show private text.

    Documents are rendered by an installed Chromium; without one they are left out, with a warning.

    Args:
        source: An artifact.
        dataset: The data that it was trained on. Its test pictures are familiar ones, and changed they are other kinds.
        folder: Pictures of further kinds, a folder each, or with ``annotations.jsonl``; see
            :mod:`trainer.data.annotated`.
        count: Pictures of each kind.
        seed: Seed of what is drawn.
        reader: Reads text; see :func:`~trainer.attackers.ocr.best_readers`. Without one, nothing is read.
        progress: Called with the name of each kind and the number of kinds that are done.

    Raises:
        ArtifactError: If the artifact can't be loaded.
        DataError: If a picture can't be read.
    """
    _, engine, manifest, digest = load_artifact(source)
    level = level_of(manifest, None)
    kinds, warnings = _kinds(dataset, folder, count, seed)
    if manifest.domain is None:
        warnings.append("the domain of the artifact is unknown, so it covers nothing")
    rows = []
    for done, (kind, pictures) in enumerate(kinds.items()):
        progress(kind, done)
        rows.append(_measured(kind, pictures, engine, level, None if kind == FAMILIAR else reader))
    return UnfamiliarReport(
        artifact_digest=digest, level=level, seed=seed, kinds=tuple(rows), warnings=tuple(warnings)
    )


def _measured(
    kind: str,
    pictures: Callable[[], Iterator[OtherPicture]],
    engine: Engine,
    level: float,
    reader: TextReader | None,
) -> UnfamiliarKind:
    number = covered = least = private = shown = 0
    for picture in while_wanted(pictures()):
        image = decode_image(encode_image(picture.image))
        judged = judged_by(engine, image, level)
        number += 1
        private += bool(picture.private)
        covered += not judged.is_familiar
        least += not judged_by(engine, image, 0.0).is_familiar
        if judged.is_familiar and picture.private and reader is not None:
            seen = judged.image.rotate(-picture.turned, expand=True)
            shown += _shows(seen, picture.private, reader)
    return UnfamiliarKind(
        kind=kind,
        pictures=number,
        covered=covered,
        covered_least=least,
        private=private,
        shown=None if reader is None or not private else shown,
        fitted_against=kind in OTHER_KINDS,
    )


def _shows(image: Image.Image, private: Sequence[str], reader: TextReader) -> bool:
    """Say whether most of any private text can be read."""
    found = read_words([as_tensor(image)], [list(private)], reader)
    return bool((found.distance <= 1 - SHOWN_FROM + 1e-6).any())


_Kinds = dict[str, "Callable[[], Iterator[OtherPicture]]"]


def _kinds(dataset: Dataset | None, folder: Path | None, count: int, seed: int) -> tuple[_Kinds, list[str]]:
    """Name the kinds, with functions that make their pictures one by one, and warn of those that can't be made."""
    kinds: _Kinds = {}
    warnings = []
    if dataset is None:
        warnings.append("no data were given, so it is not known how many familiar pictures are covered")
    else:
        kinds |= _changed(dataset, count, seed)
    try:
        find_browser()
    except DataError:
        warnings.append(
            "no Chromium is installed, so no letters, chats, tables, cards and screens were rendered"
        )
    else:
        kinds |= {kind: partial(_documents, layouts, count, seed) for kind, layouts in _DOCUMENTS.items()}
    kinds["drawn scenes"] = lambda: (
        OtherPicture(draw_scene(np.random.default_rng((seed, _STREAM, number)))[0].resize((_SCENE_SIDE,) * 2))
        for number in range(count)
    )
    if folder is not None:
        kinds |= _given(folder)
    return kinds, warnings


def _documents(layouts: Sequence[str], count: int, seed: int) -> Iterator[OtherPicture]:
    """Make documents of several layouts, taken in several ways, in turn."""
    for number, layout, taken in zip(range(count), cycle(layouts), cycle(_TAKEN), strict=False):
        drawn = draw_document(layout, seed=seed + number, taken=taken, scales=(1.0,))
        yield OtherPicture(drawn.picture, tuple(span.text for span in drawn.spans if _is_text(span.text)))


def _is_text(text: str) -> bool:
    return sum(letter.isalnum() for letter in text) > 3


_CHANGES: Final[Mapping[str, Callable[[Image.Image, np.random.Generator], Image.Image]]] = {
    **{name: change for name, change in OTHER_KINDS.items() if not name.endswith(PAGES)},
    "mirrored": lambda image, _: ImageOps.mirror(image),
    "dark": lambda image, _: ImageEnhance.Brightness(image).enhance(0.35),
    "noisy": lambda image, generator: Image.fromarray(
        (np.asarray(image) + generator.normal(0, 25, (image.height, image.width, 1)))
        .clip(0, 255)
        .astype(np.uint8)
    ),
    "blurred": lambda image, _: image.filter(ImageFilter.GaussianBlur(max(image.size) / 160)),
    "without colour": lambda image, _: image.convert("L").convert("RGB"),
    "tilted by 15 degrees": lambda image, _: image.rotate(
        15, Image.Resampling.BICUBIC, fillcolor=image.getpixel((0, 0))
    ),
    "two in one picture": lambda image, _: _stacked(image),
}
"""Name of a kind -> function that makes a picture of it from a familiar one. Domains know the first of them only."""
_TURNED: Final = {f"turned by {degrees} degrees": degrees for degrees in (90, 180, 270)}


def _stacked(image: Image.Image) -> Image.Image:
    both = Image.new("RGB", (image.width, 2 * image.height))
    both.paste(image)
    both.paste(image, (0, image.height))
    return both


def _changed(dataset: Dataset, count: int, seed: int) -> _Kinds:
    """Make kinds from the test pictures of a data set: as they are, all of them, and changed, some of them."""
    examples = dataset.split("test")

    def made(name: str) -> Iterator[OtherPicture]:
        for number, example in enumerate(islice(examples, count)):
            generator = np.random.default_rng((seed, _STREAM, number))
            image = _CHANGES[name](dataset.open_image(example), generator)
            yield OtherPicture(image, tuple(example.texts.values()), _TURNED.get(name, 0))

    kinds: _Kinds = {FAMILIAR: lambda: (OtherPicture(dataset.open_image(each)) for each in examples)}
    return kinds | {name: partial(made, name) for name in _CHANGES}


def _given(folder: Path) -> _Kinds:
    """Find the pictures of a folder: annotated ones by their kind, others by the folder in which they lie."""
    found: dict[str, list[tuple[Path, tuple[str, ...]]]] = {}
    if (folder / ANNOTATIONS).is_file():
        for each in load_annotated(folder):
            private = tuple(text.text for text in each.private if _is_text(text.text))
            found.setdefault(f"given: {each.kind}", []).append((each.path, private))
    else:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file():
                found.setdefault(f"given: {path.parent.name}", []).append((path, ()))
    if not found:
        raise DataError(f"nothing was measured: there is no picture in {folder}.")
    return {kind: partial(map, _opened, files) for kind, files in found.items()}


def _opened(file: tuple[Path, tuple[str, ...]]) -> OtherPicture:
    path, private = file
    return OtherPicture(decode_image(path.read_bytes()), private)
