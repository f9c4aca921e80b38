"""Screenshots of pages by an installed Chromium."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image

from langchain_vpp.errors import DataError

BROWSERS: Final = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome", "chrome")
"""Names of the programs that can render a page, the preferred one first."""
_OPTIONS: Final = (
    "--headless",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
)
_SECONDS: Final = 60


def find_browser() -> str:
    """Find a browser.

    Returns:
        The path of the program.

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


def screenshot(page: str, size: tuple[int, int], scale: float, *, browser: str) -> Image.Image:
    """Render a page that loads nothing else.

    Args:
        page: The page, in HTML.
        size: Width and height of the window, CSS pixels.
        scale: Pixels of the picture for each CSS pixel (the device scale factor).
        browser: The program; see :func:`find_browser`.

    Returns:
        The picture, RGB, ``scale`` times as large as the window.

    Raises:
        DataError: If the browser makes no picture.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "page.html"), Path(folder, "page.png")
        source.write_text(page, encoding="utf-8")
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
        failure = ""
        try:
            done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603  ours
            if not target.exists():
                failure = f"it ended with code {done.returncode}"
        except (OSError, subprocess.TimeoutExpired) as error:
            failure = type(error).__name__
        if not failure:
            with Image.open(target) as picture:
                return picture.convert("RGB")
    raise DataError(f"no page was rendered: {browser} made no picture ({failure}). Check that it runs here.")


def _sandbox() -> tuple[str, ...]:
    """Switch Chromium's sandbox off for root, for whom it refuses to start; the pages are our own."""
    return ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
