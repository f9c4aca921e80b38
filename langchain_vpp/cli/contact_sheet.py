"""``vpp protect --contact-sheet``: a few pictures before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from langchain_vpp.cli.display import say
from langchain_vpp.cli.options import InputError
from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.codec import decode_image
from langchain_vpp.images.sheet import draw_sheet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image

    from langchain_vpp.batch import Copy

_MOST: Final = 8
_SIDE: Final = 512
_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg"})


def check_sheet(path: Path) -> None:
    """Refuse a sheet that can't be written, before pictures are protected.

    Raises:
        InputError: If the file is no PNG or JPEG, or a folder.
        OSError: If its folder can't be made.
    """
    if path.suffix.lower() not in _SUFFIXES or path.is_dir():
        raise InputError(f"nothing was protected: {path} must be a file that ends in .png or .jpg.")
    path.parent.mkdir(parents=True, exist_ok=True)


def save_sheet(copies: Sequence[Copy], path: Path) -> None:
    """Draw the first pictures and their protected copies; documents are left out.

    Args:
        copies: Outcome for each picture.
        path: File of the sheet.
    """
    before: list[Image.Image] = []
    after: list[Image.Image] = []
    for copy in copies:
        if copy.target is None or copy.status not in {"protected", "unchanged"} or len(before) == _MOST:
            continue
        try:
            pair = [decode_image(each.read_bytes(), max_side=_SIDE) for each in (copy.source, copy.target)]
        except (ProtectionError, OSError):
            continue  # a document
        before.append(pair[0])
        after.append(pair[1])
    if not before:
        say("no contact sheet: no picture was protected.")
        return
    draw_sheet([("original", before), ("protected", after)]).save(path)
    say(f"contact sheet: {path}, which shows originals.")
