"""Reports of ``vpp evaluate`` as pages of the studio: those that were found when it started, each under a number."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import ValidationError

from langchain_vpp.errors import DataError
from trainer.evaluation.results import Report
from trainer.reporting.html import render_html

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_MOST_BYTES: Final = 64 * 2**20
_MOST_REPORTS: Final = 200
_STYLE: Final = re.compile(r"<style>(.*?)</style>", re.DOTALL)


class Page(NamedTuple):
    """A report as a page, and the policy under which a browser may show it."""

    html: str
    policy: str


class Reports:
    """Reports that can be opened. A browser names them by number, so it can name no other file.

    Args:
        places: Files, JSON or HTML, and folders of them.

    Raises:
        DataError: If a place holds no report.
    """

    def __init__(self, places: Sequence[Path] = ()) -> None:
        self._files: list[Path] = []
        for place in places:
            found = sorted(_reports(place))
            if not found:
                raise DataError(f"{place} holds no report of `vpp evaluate`; nothing was shown.")
            self._files += found
        del self._files[_MOST_REPORTS:]

    @property
    def names(self) -> list[str]:
        """Names for people, in the order of the numbers."""
        return [f"{file.parent.name}/{file.name}" for file in self._files]

    def page(self, number: int) -> Page | None:
        """Return the page of a report; ``None`` if there is no such number, or its file has gone or changed its kind.

        The page may load nothing and run nothing, whatever its file has become since.

        Args:
            number: Place in ``names``, from 0.
        """
        if not 0 <= number < len(self._files):
            return None
        html = _page(self._files[number])
        if html is None:
            return None
        styles = " ".join(f"'sha256-{_digest(style)}'" for style in _STYLE.findall(html)) or "'none'"
        policy = f"sandbox; default-src 'none'; style-src {styles}; img-src data:; frame-ancestors 'none'"
        return Page(html, policy)


def _page(file: Path) -> str | None:
    try:
        if file.stat().st_size > _MOST_BYTES:
            return None
        data = file.read_bytes()
        if file.suffix == ".json":
            return render_html(Report.model_validate_json(data), presets={})
        return data.decode("utf-8")
    except (OSError, UnicodeDecodeError, ValidationError):
        return None


def _reports(place: Path) -> Iterator[Path]:
    """Find the reports of a file or a folder; links that lead out of the folder are left out."""
    if place.is_file():
        yield from [place] if _is_report(place) else []
        return
    inside = place.resolve()
    for file in [
        *place.glob("*.json"),
        *place.glob("*.html"),
        *place.glob("*/*.json"),
        *place.glob("*/*.html"),
    ]:
        if file.resolve().is_relative_to(inside) and file.is_file() and _is_report(file):
            yield file


def _is_report(file: Path) -> bool:
    """Say whether a file begins like a report; it is read as a whole when it is opened."""
    try:
        with file.open("rb") as opened:
            head = opened.read(4096)
        if file.suffix == ".json":
            return file.stat().st_size <= _MOST_BYTES and _page(file) is not None
    except OSError:
        return False
    return file.suffix == ".html" and b"<title>Visual privacy report</title>" in head


def _digest(style: str) -> str:
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
