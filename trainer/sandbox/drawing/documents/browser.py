"""Pictures of pages by an installed Chromium, with the boxes of marked elements."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

from PIL import Image

from langchain_vpp.errors import DataError

BROWSERS: Final = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome", "chrome")
"""Names of the programs that can render a page, the preferred one first."""
_OPTIONS: Final = (
    "--headless", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--hide-scrollbars", "--dump-dom",
)  # fmt: skip
_SECONDS: Final = 120
# One box per line of text of a marked element, because a box around several lines holds other words.
_BOXES: Final = r"""<script>
addEventListener('load', () => {
  const found = [...document.querySelectorAll('[data-private]')].map(each => ({
    kind: each.dataset.private, text: each.textContent,
    boxes: [...each.getClientRects()].map(box => [box.left, box.top, box.right, box.bottom])}));
  const words = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; node = texts.nextNode();) {
    if (node.parentElement.closest('[data-private], script, style')) continue;
    for (const match of node.data.matchAll(/\S+/g)) {
      const range = document.createRange();
      range.setStart(node, match.index); range.setEnd(node, match.index + match[0].length);
      const boxes = range.getClientRects();
      if (boxes.length === 1) {
        const box = boxes[0];
        words.push([match[0], box.left, box.top, box.right, box.bottom]);
      }
    }
  }
  const note = document.createElement('script');
  note.type = 'application/json'; note.id = 'boxes'; note.textContent = JSON.stringify({found, words});
  document.body.appendChild(note);
});</script>"""
_NOTE: Final = re.compile(r'<script type="application/json" id="boxes">(.*?)</script>', re.DOTALL)


class PrivateSpan(NamedTuple):
    """Private text in a picture.

    Attributes:
        kind: Kind of the text, such as ``private_person``.
        text: The text.
        boxes: A box ``(left, top, right, bottom)`` for each line of the text, in pixels of the picture.
    """

    kind: str
    text: str
    boxes: tuple[tuple[float, float, float, float], ...]


class PlacedWord(NamedTuple):
    """A word that is not private, with its box ``(left, top, right, bottom)`` in pixels of the picture."""

    text: str
    box: tuple[float, float, float, float]


class RenderedPage(NamedTuple):
    """Picture of a page, RGB, with the spans of its elements that have an attribute ``data-private``.

    Attributes:
        picture: The picture.
        spans: The private text.
        words: The words outside of it, each on one line.
    """

    picture: Image.Image
    spans: tuple[PrivateSpan, ...]
    words: tuple[PlacedWord, ...] = ()


def find_browser() -> str:
    """Find a browser and return its path.

    Raises:
        DataError: If none of :data:`BROWSERS` is installed.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise DataError(
            "no page was rendered: Chromium is not installed. Install it, as with `apt-get install chromium`, so that "
            f"one of these programs is found: {', '.join(BROWSERS)}."
        )
    return found


def render(page: str, size: tuple[int, int], scale: float, *, browser: str) -> RenderedPage:
    """Render a page that loads nothing else.

    Args:
        page: The page, in HTML.
        size: Width and height of the window, CSS pixels.
        scale: Pixels of the picture for each CSS pixel (the device scale factor).
        browser: The program; see :func:`find_browser`.

    Raises:
        DataError: If the browser makes no picture.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        source, target = Path(folder, "page.html"), Path(folder, "page.png")
        source.write_text(page + _BOXES, encoding="utf-8")
        command = [
            browser,
            *_OPTIONS,
            *_sandbox(),
            f"--user-data-dir={Path(folder, 'profile')}",
            f"--window-size={size[0]},{size[1]}",
            f"--force-device-scale-factor={scale:g}",
            f"--screenshot={target}",
            source.as_uri(),
        ]
        failure, notes = "", None
        try:
            done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603  ours
            notes = _NOTE.search(done.stdout.decode(errors="replace"))
            if notes is None or not target.exists():
                failure = f"it ended with code {done.returncode}"
        except (OSError, subprocess.TimeoutExpired) as error:
            failure = type(error).__name__
        if notes is not None and not failure:
            found = json.loads(notes[1])
            with Image.open(target) as picture:
                return RenderedPage(
                    picture.convert("RGB"), _spans(found["found"], scale), _words(found["words"], scale)
                )
    raise DataError(f"no page was rendered: {browser} made no picture ({failure}). Check that it runs here.")


def _spans(found: list[dict[str, Any]], scale: float) -> tuple[PrivateSpan, ...]:
    return tuple(
        PrivateSpan(
            each["kind"],
            html.unescape(each["text"]),
            tuple(
                (x * scale, y * scale, right * scale, bottom * scale) for x, y, right, bottom in each["boxes"]
            ),
        )
        for each in found
        if each["boxes"]
    )


def _words(found: list[list[Any]], scale: float) -> tuple[PlacedWord, ...]:
    return tuple(
        PlacedWord(html.unescape(text), (x * scale, y * scale, right * scale, bottom * scale))
        for text, x, y, right, bottom in found
    )


def _sandbox() -> tuple[str, ...]:
    """Switch Chromium's sandbox off for root, for whom it refuses to start; the pages are our own."""
    return ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
