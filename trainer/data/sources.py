"""Photographs as they are found in a folder, and their copies in a data set: upright, and without metadata."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import warnings
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from langchain_vpp.batch import PICTURE_SUFFIXES
from langchain_vpp.errors import DataError, ProtectionError
from langchain_vpp.images.codec import decode_image
from trainer.data.alike import fingerprint, is_available
from trainer.data.groups import Traits
from trainer.data.pictures import write_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_JOURNAL: Final = "sources.jsonl"
_LOSSLESS: Final = frozenset({".png", ".bmp", ".gif", ".tif", ".tiff"})
_UNSAFE: Final = re.compile(r"[^\w.\- ]")


class Source(NamedTuple):
    """One picture of a data set and the photograph that it was made from.

    Attributes:
        name: Path of the photograph, relative to the folder of photographs, with slashes.
        image: Path of the picture, relative to the data set's folder.
        traits: That by which it is grouped.
    """

    name: str
    image: str
    traits: Traits


class Failure(NamedTuple):
    """A photograph that can't be used, or a file that is none.

    Attributes:
        name: Its path, relative to the folder of photographs.
        reason: The reason, a sentence without a full stop.
    """

    name: str
    reason: str


class Taken(NamedTuple):
    """Result of :func:`take_photographs`.

    Attributes:
        sources: The pictures, by the name of their photograph.
        new: Number of pictures that this call wrote.
        failures: Photographs that can't be used.
        copies: Photographs that are the same file as another.
        others: Files that are no pictures.
    """

    sources: tuple[Source, ...]
    new: int
    failures: tuple[Failure, ...]
    copies: tuple[str, ...]
    others: tuple[str, ...]


def take_photographs(photos: Path, out: Path, progress: Callable[[int, int], object]) -> Taken:
    """Write a copy of each photograph of a folder into a data set, unless an earlier call has.

    A copy holds pixels alone, upright: no metadata, no preview. ``sources.jsonl`` in the data set says which photograph
    each picture was made from; it is as private as the photographs.

    Args:
        photos: Folder of photographs, with subfolders.
        out: Folder of the data set. It may lie in the folder of photographs, and is left out then.
        progress: Called with the number of photographs that are done, and of all.

    Raises:
        DataError: If the folder of photographs does not exist or holds no picture.
    """
    if not photos.is_dir():
        raise DataError(
            f"{photos} is no folder. Give the folder that holds the photographs; nothing was written."
        )
    found, others = _files(photos, out)
    if not found:
        raise DataError(f"there is no picture in {photos}. Nothing was written.")
    journal = out / _JOURNAL
    out.mkdir(parents=True, exist_ok=True)
    known = {source.name: source for source in _read_journal(journal)}
    images = {source.image.casefold() for source in known.values()}
    sources: dict[str, Source] = {}  # by digest
    failures, copies, new = [], [], 0
    with journal.open("a", encoding="utf-8") as lines:
        os.chmod(journal, 0o600)  # noqa: PTH101  it names private files
        for number, path in enumerate(found, 1):
            name = path.relative_to(photos).as_posix()
            try:
                data = path.read_bytes()
                digest = hashlib.sha256(data).hexdigest()
                source = known.get(name)
                if digest in sources:
                    copies.append(name)
                elif source is None or source.traits.digest != digest or not (out / source.image).is_file():
                    image = source.image if source else _image_name(name, images)
                    sources[digest] = _taken(data, digest, name, out, image)
                    lines.write(_journal_line(sources[digest]))
                    lines.flush()
                    new += 1
                else:
                    sources[digest] = source
            except (OSError, ProtectionError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                failures.append(Failure(name, (reason or type(error).__name__).rstrip(".")))
            progress(number, len(found))
    by_name = sorted(sources.values(), key=lambda source: source.name)
    return Taken(tuple(by_name), new, tuple(failures), tuple(copies), tuple(others))


def _files(photos: Path, out: Path) -> tuple[list[Path], list[str]]:
    inside = out.resolve()
    found, others = [], []
    for path in sorted(photos.rglob("*")):
        if not path.is_file() or path.resolve().is_relative_to(inside):
            continue
        relative = path.relative_to(photos)
        if any(part.startswith(".") for part in relative.parts):
            continue
        if path.suffix.lower() in PICTURE_SUFFIXES:
            found.append(path)
        else:
            others.append(relative.as_posix())
    return found, others


def _taken(data: bytes, digest: str, name: str, out: Path, image: str) -> Source:
    picture = decode_image(data)
    write_pixels(picture, out / image)
    folder = name.rpartition("/")[0]
    bits = fingerprint(picture) if is_available() else None
    return Source(name, image, Traits(digest, folder, _time_of(data), bits))


def _image_name(name: str, images: set[str]) -> str:
    """Choose a file for a picture that no other has, whatever the disk thinks of capitals."""
    stem, _, suffix = name.rpartition(".")
    ending = ".png" if f".{suffix.lower()}" in _LOSSLESS else ".jpg"
    safe = "/".join(_UNSAFE.sub("_", part) for part in stem.split("/"))
    image, number = f"images/{safe}{ending}", 1
    while image.casefold() in images:
        number += 1
        image = f"images/{safe}-{number}{ending}"
    images.add(image.casefold())
    return image


def _time_of(data: bytes) -> float | None:
    """Read the time at which a photograph was taken, as its camera's clock said it."""
    with (
        suppress(Exception),
        warnings.catch_warnings(),
    ):  # metadata of strangers; without a time it is grouped otherwise
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data)) as opened:
            inner = opened.getexif().get_ifd(ExifTags.IFD.Exif)
        text = str(inner.get(ExifTags.Base.DateTimeOriginal) or "")
        return datetime.strptime(text.strip("\0 "), "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    return None


def _journal_line(source: Source) -> str:
    traits = source.traits
    bits = None if traits.bits is None else np.packbits(traits.bits).tobytes().hex()
    fields = {"name": source.name, "image": source.image, "sha256": traits.digest}
    return json.dumps(fields | {"folder": traits.folder, "taken": traits.taken, "bits": bits}) + "\n"


def _read_journal(path: Path) -> Iterator[Source]:
    """Read what earlier calls wrote; a line that a killed process cut off is left out."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError, KeyError, TypeError):
            each = json.loads(line)
            packed = each["bits"]
            bits = None if packed is None else _unpacked(packed)
            traits = Traits(each["sha256"], each["folder"], each["taken"], bits)
            yield Source(each["name"], each["image"], traits)


def _unpacked(packed: str) -> np.ndarray:
    return np.unpackbits(np.frombuffer(bytes.fromhex(packed), dtype=np.uint8)).astype(bool)
