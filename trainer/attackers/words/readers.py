"""Readers of attackers: text with boxes, by OCR engines other than the protector's."""

from __future__ import annotations

import io
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from langchain_vpp import extras
from langchain_vpp.errors import TrainingError

_SECONDS: Final = 120
_ONE_THREAD: Final = {"OMP_THREAD_LIMIT": "1"}
"""Environment of Tesseract: its threads wait for each other busily, for three times the processor time."""
_WORD_LEVEL: Final = "5"
"""Level of rows that are words in Tesseract's tables."""

_SETTINGS: Final = {
    "intra_op_num_threads": 1,
    "inter_op_num_threads": 1,
    "use_cls": False,
    "text_score": 0.0,
    "det_limit_side_len": 320,
}
"""Settings of RapidOCR. By default it enlarges small pictures, which views do already."""


class Seen(NamedTuple):
    """A word that an attacker reads; a reader may take several words for one.

    Attributes:
        text: The text.
        box: Left, upper, right and lower edge, in pixels of the picture.
        certainty: Certainty of the attacker, 0 to 1.
    """

    text: str
    box: tuple[float, float, float, float]
    certainty: float = 1.0


WordReader: TypeAlias = Callable[[Image.Image], Sequence[Seen]]
"""Maps an RGB picture to the text found in it."""


def tesseract_words(*, layout: int = 11) -> WordReader:
    """Return a reader that uses an installed Tesseract.

    Args:
        layout: Page segmentation mode; 11 looks for scattered text.

    Raises:
        TrainingError: If the program is not installed.
    """
    program = shutil.which("tesseract")
    if program is None:
        raise TrainingError(
            "no text was read: Tesseract is not installed. Install it, as with `apt-get install tesseract-ocr`."
        )

    def read(picture: Image.Image) -> list[Seen]:
        data = io.BytesIO()
        picture.save(data, "PPM")
        table = None
        with suppress(subprocess.TimeoutExpired):
            table = run_tesseract(program, data.getvalue(), "--psm", str(layout), "tsv")
        if table is None:
            raise TrainingError(
                f"a picture was not measured: Tesseract read it for more than {_SECONDS} seconds. Run it where less "
                "else runs, or name other readers."
            )
        rows = (line.split("\t") for line in table.splitlines())
        return [_word(row) for row in rows if row[0] == _WORD_LEVEL and row[-1].strip()]

    return read


def run_tesseract(program: str, picture: bytes, *options: str) -> str:
    """Return what Tesseract writes about a picture; about one that it can't take, nothing.

    Args:
        program: Path of the program.
        picture: An encoded picture.
        options: Its options.

    Raises:
        subprocess.TimeoutExpired: If it takes more than two minutes.
    """
    done = subprocess.run(  # noqa: S603  a program that was found by its name
        [program, "-", "-", *options],
        input=picture,
        capture_output=True,
        check=False,
        timeout=_SECONDS,
        env=_ONE_THREAD | os.environ,
    )
    return done.stdout.decode("utf-8", "replace")


def _word(row: Sequence[str]) -> Seen:
    left, top, wide, high = (float(each) for each in row[6:10])
    return Seen(row[11], (left, top, left + wide, top + high), max(0.0, float(row[10]) / 100))


def older_rapid_words() -> WordReader:
    """Return a reader that uses PP-OCRv4, whose networks come with the package ``rapidocr-onnxruntime``.

    Protectors read with PP-OCRv6, a later family with other networks. The package belongs to no extra, because it
    brings another copy of OpenCV.

    Raises:
        TrainingError: If the package is not installed.
    """
    engine = older_rapid_engine()

    def read(picture: Image.Image) -> list[Seen]:
        lines, _ = engine(_bgr(picture), use_det=True, use_cls=False, use_rec=True)
        return [word for line in lines or () for word in _words(*line)]

    return read


def older_rapid_engine() -> Any:
    """Return the engine of the package ``rapidocr-onnxruntime``, which holds PP-OCRv4.

    Raises:
        TrainingError: If the package is not installed.
    """
    package = extras.find("rapidocr_onnxruntime")
    if package is None:
        raise TrainingError(
            "no text was read: rapidocr-onnxruntime is not installed. Install it with `pip install --no-deps "
            "rapidocr-onnxruntime`."
        )
    # Both packages write to one logger, and the import of this one makes it talk of every picture without text.
    logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
    return package.RapidOCR(**_SETTINGS)


def own_rapid_words() -> WordReader:
    """Return a reader that uses the same networks as the protector, PP-OCRv6 of the extra ``words``.

    It misses what the protector's reader misses, so it says little where another reader is installed.

    Raises:
        MissingExtraError: If the extra is missing or can't be loaded.
    """
    from langchain_vpp.engines.words import RapidReader  # noqa: PLC0415  extra `words`

    reader = RapidReader()
    return lambda picture: [Seen(each.text, each.box, each.confidence) for each in reader.read(picture)]


_READERS: Final[Mapping[str, Callable[[], WordReader]]] = {
    "tesseract": tesseract_words,
    "pp-ocrv4": older_rapid_words,
    "pp-ocrv6": own_rapid_words,
}


def readers_named(names: Sequence[str]) -> dict[str, WordReader]:
    """Return readers by name.

    Args:
        names: ``tesseract``, ``pp-ocrv4``, or ``pp-ocrv6``, which protectors use too. Without names, all that are
            installed and that protectors don't use; the last one where there are none.

    Raises:
        TrainingError: If a reader does not exist or is not installed.
    """
    if unknown := sorted(set(names) - set(_READERS)):
        raise TrainingError(
            f"no text was read: there is no reader {unknown[0]!r}. Choose from {', '.join(_READERS)}."
        )
    return {name: _READERS[name]() for name in names or installed_readers()}


def any_is_installed() -> bool:
    """Say whether any reader is installed."""
    return installed_readers() != ["pp-ocrv6"] or extras.is_installed(
        "rapidocr", "presidio_analyzer", "wordfreq"
    )


def installed_readers() -> list[str]:
    """Return the names of installed readers that protectors don't use, or of theirs if there is no other."""
    found = ["tesseract"] if shutil.which("tesseract") else []
    found += ["pp-ocrv4"] if extras.is_installed("rapidocr_onnxruntime") else []
    return found or ["pp-ocrv6"]


def views_of(picture: Image.Image) -> dict[str, tuple[Image.Image, float]]:
    """Return changed copies of a picture in which more may be read, each with its enlargement.

    Args:
        picture: An RGB picture.
    """
    double = (picture.width * 2, picture.height * 2)
    return {
        "enlarged": (picture.resize(double, Image.Resampling.LANCZOS), 2.0),
        "sharpened": (picture.filter(ImageFilter.UnsharpMask(3, 250, 0)), 1.0),
        "stretched": (ImageOps.equalize(picture.convert("L")).convert("RGB"), 1.0),
    }


def averaged(pictures: Sequence[Image.Image]) -> Image.Image:
    """Return the mean of several protected copies of one picture, such as one for each level."""
    pixels = np.mean([np.asarray(each, dtype=np.float32) for each in pictures], axis=0)
    return Image.fromarray(pixels.round().astype(np.uint8))


def _bgr(picture: Image.Image) -> Any:
    return np.ascontiguousarray(np.asarray(picture)[:, :, ::-1])


def _words(quad: Sequence[Sequence[float]], text: str, certainty: float) -> Iterator[Seen]:
    """Yield the words of a line, whose boxes are estimated: all letters count as equally wide."""
    xs, ys = [float(x) for x, _ in quad], [float(y) for _, y in quad]
    left, letter = min(xs), (max(xs) - min(xs)) / max(1, len(text))
    for match in re.finditer(r"\S+", text):
        begin, end = match.span()
        box = (left + begin * letter, min(ys), left + end * letter, max(ys))
        yield Seen(match[0], box, float(certainty))
