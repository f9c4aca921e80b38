"""Text recognition: words and numbers that can still be read in protected pictures."""

from __future__ import annotations

import io
import math
import shutil
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn

from langchain_vpp import extras
from langchain_vpp.errors import TrainingError
from trainer.attackers.words.readers import run_tesseract
from trainer.runtime.cancellation import while_wanted

TextReader = Callable[[Tensor], Sequence[str]]
"""Maps one ``uint8`` image ``[3, H, W]`` to all text found in it, once for each attempt."""

SHOWN_FROM: Final = 0.6
"""Share of an item's characters that must be read for the item to count as shown."""
_LONGEST: Final = 2000


class RecognizedText(NamedTuple):
    """Success of an OCR engine at words that it should not read, each word in the best of its attempts.

    :func:`~trainer.statistics.bootstrap_mean` of a column gives its mean and interval.
    """

    exact: Tensor
    """1 where the whole word was read, else 0; NaN where a picture has no such word. Shape ``[N, F]``."""
    distance: Tensor
    """Edits per character between the word and the nearest part of the text: 0 is read exactly, 1 not at all. NaN where
    a picture has no such word. Shape ``[N, F]``."""
    exact_floor: Tensor
    """``exact`` for the words of another picture, because short words may turn up by chance. Shape ``[N, F]``."""
    distance_floor: Tensor
    """``distance`` to the words of another picture, because a long text is never far from a short word."""


def read_words(
    images: Tensor | Sequence[Tensor], words: Sequence[Sequence[str | None]], reader: TextReader
) -> RecognizedText:
    """Look for words in pictures.

    Case, spaces and punctuation are ignored.

    Args:
        images: ``uint8``, shape ``[N, 3, H, W]``, or pictures of several sizes, ``[3, H, W]`` each.
        words: Words of ``F`` fields, such as name and number, for each picture; ``None`` where it lacks a field.
        reader: A text reader; see :func:`rapid_ocr`.

    Raises:
        ValueError: If the number of lists differs from that of pictures, or a word has neither letter nor digit.
    """
    if len(words) != len(images):
        raise ValueError("there must be a list of words for each picture")
    folded = [[None if word is None else fold(word) for word in each] for each in words]
    if any(word == "" for each in folded for word in each):
        raise ValueError("a word must have a letter or a digit")
    texts = [[fold(text) for text in reader(image)] for image in while_wanted(images)]
    distance = _distances(folded, texts)
    floor = _distances(folded[1:] + folded[:1], texts)
    return RecognizedText(_exact(distance), distance, _exact(floor), floor)


def open_rapidocr(
    settings: Mapping[str, object] = MappingProxyType({}),
    *,
    threads: int = 1,
    undone: str = "no text was read",
    advice: str = "",
) -> Any:
    """Load an engine of RapidOCR that logs nothing.

    Args:
        settings: Further settings of it, by their names.
        threads: Threads of ONNX Runtime.
        undone: Beginning of the error where the package is missing.
        advice: End of that error.

    Raises:
        MissingExtraError: If the package is not installed.
    """
    package = extras.load("rapidocr", extra="ocr", undone=undone, advice=advice)
    quiet = {
        "Global.log_level": "critical",
        "EngineConfig.onnxruntime.intra_op_num_threads": threads,
        "EngineConfig.onnxruntime.inter_op_num_threads": threads,
    }
    return package.RapidOCR(params=quiet | dict(settings))


def rapid_ocr(*, sides: Sequence[int] = (640, 1280), threads: int = 1) -> TextReader:
    """Return a reader that uses RapidOCR, whose models come with its package (extra ``ocr``).

    Args:
        sides: Longest sides, in pixels, to which a picture is enlarged for one more attempt each, because detectors
            miss small letters.
        threads: Threads of ONNX Runtime.

    Raises:
        MissingExtraError: If the package is not installed.
    """
    engine = open_rapidocr({"Global.text_score": 0.0}, threads=threads, advice="Or leave this test out.")

    def read(image: Tensor) -> tuple[str, ...]:
        longest = max(image.shape[1:])
        wanted = [longest, *(side for side in sides if longest < side <= _LONGEST)]
        found = (engine(_scaled(image, side / longest).numpy()).txts for side in wanted)
        return tuple(" ".join(lines or ()) for lines in found)

    return read


def tesseract_ocr(*, layouts: Sequence[int] = (3, 11), side: int = 1280) -> TextReader:
    """Return a reader that uses an installed Tesseract, which reads large, clear letters better than RapidOCR.

    Args:
        layouts: Page segmentation modes, an attempt each: 3 takes the picture for a page, 11 looks for scattered text.
        side: Longest side, in pixels, to which a smaller picture is enlarged.

    Raises:
        TrainingError: If the program is not installed.
    """
    program = shutil.which("tesseract")
    if program is None:
        raise TrainingError(
            "no text was read: Tesseract is not installed. Install it, as with `apt-get install tesseract-ocr`, or "
            "leave this reader out."
        )

    def read(image: Tensor) -> tuple[str, ...]:
        larger = _scaled(image, side / max(image.shape[1:])).flip(2).contiguous()
        picture = io.BytesIO()
        Image.fromarray(larger.numpy()).save(picture, "PPM")
        return tuple(run_tesseract(program, picture.getvalue(), "--psm", str(each)) for each in layouts)

    return read


def best_readers() -> TextReader:
    """Combine the text recognisers that are installed, RapidOCR (extra ``ocr``) and Tesseract.

    Raises:
        MissingExtraError: If neither is installed.
    """
    tesseract = shutil.which("tesseract")
    # RapidOCR enlarges small pictures by itself.
    readers = [rapid_ocr(sides=())] if extras.is_installed("rapidocr") or not tesseract else []
    if tesseract:
        readers.append(tesseract_ocr())
    return lambda image: tuple(text for read in readers for text in read(image))


def fold(text: str) -> str:
    """Return the letters and digits of a text, without case.

    Example:
        >>> fold("Dr. Ada-Byron")
        'dradabyron'
    """
    return "".join(each for each in unicodedata.normalize("NFKC", text).casefold() if each.isalnum())


def edits_within(word: str, text: str) -> int:
    """Count the fewest insertions, deletions and substitutions that turn part of a text into a word (Sellers, 1980).

    Example:
        >>> edits_within("1987", "born 1937 in")
        1
    """
    row = [0] * (len(text) + 1)  # a match may begin anywhere
    for index, letter in enumerate(word, start=1):
        above, row = row, [index]
        for column, other in enumerate(text, start=1):
            row.append(min(above[column - 1] + (letter != other), above[column] + 1, row[column - 1] + 1))
    return min(row)  # and end anywhere


def _distances(words: Sequence[Sequence[str | None]], texts: Sequence[Sequence[str]]) -> Tensor:
    return torch.tensor(
        [
            [
                math.nan
                if word is None
                else min((edits_within(word, each) for each in attempts), default=len(word)) / len(word)
                for word in fields
            ]
            for fields, attempts in zip(words, texts, strict=True)
        ]
    )


def _exact(distance: Tensor) -> Tensor:
    return (distance == 0).float().masked_fill(distance.isnan(), math.nan)


def _scaled(image: Tensor, factor: float) -> Tensor:
    """Enlarge an image and return it in OpenCV's layout, BGR of shape ``[H, W, 3]``."""
    pixels = image
    if factor > 1:
        larger = nn.functional.interpolate(image[None].float(), scale_factor=factor, mode="bicubic")[0]
        pixels = larger.clamp(0, 255).round().byte()
    return pixels.flip(0).permute(1, 2, 0).contiguous()
