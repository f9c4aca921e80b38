"""The process in which files are decoded that may keep a decoder busy; see :mod:`langchain_vpp.images.isolated`."""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import sys
from typing import IO, TYPE_CHECKING, Any, Final, TypeAlias

from PIL import Image

from langchain_vpp.extras import is_installed
from langchain_vpp.images.bounds import Bounds
from langchain_vpp.images.codec import decode_here
from langchain_vpp.images.isolated import TOO_MUCH_MEMORY, IsolatedError, receive, send
from langchain_vpp.images.sizes import resized, swaps_sides, turn_for, turn_of, upright
from langchain_vpp.images.srgb import DEEP_GRAY, to_srgb
from langchain_vpp.images.structure import look_at

if TYPE_CHECKING:
    from collections.abc import Iterator

_FORMATS: Final = ("BMP", "TIFF", "AVIF")
_NICENESS: Final = 19
_POINTS_PER_INCH: Final = 72
_MOST_LETTERS: Final = 100_000
"""Letters of a page's text that are looked at; a page that can be read has fewer."""


class _RefusedError(Exception):
    """The file is refused; the argument names the reason."""


def main() -> None:
    """Decode files from standard input until it ends."""
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print goes where their errors go
    with contextlib.suppress(OSError, AttributeError):
        os.nice(_NICENESS)
    Image.MAX_IMAGE_PIXELS = None  # the bound of each request is checked below
    with contextlib.suppress(IsolatedError, OSError):
        while True:
            request = receive(source)
            _serve(request.head, request.data, source, target)


def _serve(task: dict[str, Any], data: bytes, source: IO[bytes], target: IO[bytes]) -> None:
    reason = ""
    try:
        _bound_memory(task["memory"])
        for size, draw, text in _TASKS[task["task"]](data, task):
            send(target, {"size": size})
            wanted = tuple(receive(source).head["size"])
            send(target, {}, draw(wanted).tobytes())
            if text is not None:
                send(target, {"text": True}, json.dumps(text).encode())
        send(target, {"last": True})
    except (IsolatedError, BrokenPipeError):
        raise
    except _RefusedError as refusal:
        reason = str(refusal)
    except MemoryError:
        reason = TOO_MUCH_MEMORY
    except Exception as error:  # noqa: BLE001  decoders raise whatever they like
        reason = "deep gray" if str(error) == DEEP_GRAY else "damaged"
    else:
        return
    finally:
        _bound_memory(None)
    send(target, {"refused": reason, "last": True})


def _bound_memory(most: int | None) -> None:
    """Make allocations fail beyond so many bytes of address space, where the system can; ``None`` ends the bound."""
    if not is_installed("resource"):  # not on every system
        return
    import resource  # noqa: PLC0415

    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (hard if most is None else most, hard))


_Pictures: TypeAlias = "Iterator[tuple[tuple[int, int], Any, Any]]"
"""Size of each picture, what makes it at another size, and what is to be said of it, if anything."""


def _decoded(data: bytes, task: dict[str, Any]) -> _Pictures:
    structure = look_at(data)
    if structure is not None:
        bounds = Bounds(max_pixels=task["max_pixels"])
        size = structure.size[::-1] if swaps_sides(turn_for(structure.orientation)) else structure.size
        yield size, lambda wanted: decode_here(structure, lambda *_: wanted, bounds, exactly=True).image, None
        return
    formats = list(_FORMATS)
    if task.get("heif"):
        import pillow_heif  # noqa: PLC0415  extra `heic`

        pillow_heif.options.DECODE_THREADS = 1
        pillow_heif.register_heif_opener()
        formats.insert(0, "HEIF")
    if is_installed("PIL.AvifImagePlugin"):
        from PIL import AvifImagePlugin  # noqa: PLC0415

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    with Image.open(io.BytesIO(data), formats=formats) as opened:
        width, height = opened.size
        if width * height > task["max_pixels"]:
            raise _RefusedError("too large")
        if getattr(opened, "is_animated", False):
            raise _RefusedError("several frames")
        opened.load()
        turn = turn_of(opened)
        on_its_side = swaps_sides(turn)

        def drawn(wanted: tuple[int, int]) -> Image.Image:
            size = wanted[::-1] if on_its_side else wanted
            return upright(to_srgb(resized(opened, size)), turn)

        yield (opened.size[::-1] if on_its_side else opened.size), drawn, None


def _drawn(data: bytes, task: dict[str, Any]) -> _Pictures:
    import pypdfium2  # noqa: PLC0415  extra `documents`

    document = pypdfium2.PdfDocument(data)
    try:
        if not 0 < len(document) <= task["max_pages"]:
            raise _RefusedError("pages")
        for page in document:
            longest = max(*page.get_size(), 1.0)
            scale = min(task["dpi"] / _POINTS_PER_INCH, task["max_side"] / longest)
            drawn = page.render(scale=scale, may_draw_forms=True).to_pil().convert("RGB")
            text = _printed(page, drawn.size) if task.get("text") else None
            page.close()
            yield (
                drawn.size,
                lambda wanted, page=drawn: page if page.size == wanted else resized(page, wanted),
                text,
            )
    finally:
        document.close()


def _sampled(data: bytes, task: dict[str, Any]) -> _Pictures:
    from langchain_vpp.images import isolated_video  # noqa: PLC0415  extra `video`

    try:
        for frame in isolated_video.frames_of(data, task["format"], task["most_frames"]):
            width, height = frame.upright_size
            if width * height > task["max_pixels"]:
                raise _RefusedError("too large")
            yield (width, height), frame.drawn, frame.time
    except isolated_video.NoPicturesError:
        raise _RefusedError("no pictures") from None


_TASKS: Final = {"decode": _decoded, "draw": _drawn, "sample": _sampled}


def _printed(page: Any, size: tuple[int, int]) -> list[list[Any]]:
    """Return the words that a page says it has: each with its box on the drawn page, and the number of its line."""
    found = page.get_textpage()
    words: list[list[Any]] = []
    text, boxes, line = "", list[tuple[float, float, float, float]](), 0
    for index in range(min(found.count_chars(), _MOST_LETTERS) + 1):
        letter = found.get_text_range(index, 1) if index < found.count_chars() else "\n"
        if letter.strip():
            text += letter
            boxes.append(_on_drawing(page, found.get_charbox(index, loose=True), size))
            continue
        if text:
            lefts, tops, rights, bottoms = zip(*boxes, strict=True)
            words.append([text, min(lefts), min(tops), max(rights), max(bottoms), line])
        text, boxes = "", []
        line += "\n" in letter or "\r" in letter
    return words


def _on_drawing(
    page: Any, box: tuple[float, float, float, float], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Return a box of a page's own coordinates in pixels of the drawn page, which may be turned and cut."""
    from pypdfium2 import raw  # noqa: PLC0415  extra `documents`

    x, y = ctypes.c_int(), ctypes.c_int()
    corners = []
    for across, up in ((box[0], box[1]), (box[2], box[3])):
        raw.FPDF_PageToDevice(page, 0, 0, *size, 0, across, up, ctypes.byref(x), ctypes.byref(y))
        corners.append((x.value, y.value))
    (left, top), (right, bottom) = corners
    return min(left, right), min(top, bottom), max(left, right), max(top, bottom)
