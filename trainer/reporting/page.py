"""Parts of pages that load nothing and run nothing: cells, embedded pictures, and the policy that says so."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langchain_vpp.images.codec import encode_image
from langchain_vpp.images.sheet import thumbnail

if TYPE_CHECKING:
    from trainer.reporting.pictures import PictureRow
    from trainer.reporting.rows import Cell

_PICTURE_SIDE: Final = 128


class ShownCell(NamedTuple):
    """A cell as the page shows it."""

    text: str
    small: str
    """Interval or note, in small print."""


def shown(cell: Cell) -> ShownCell:
    """Write a cell with a true minus sign; its interval and its note are small print."""
    interval = "" if cell.ends is None else " to ".join(map(_minus, cell.ends))
    text = _minus(cell.text) if cell.is_number else cell.text
    return ShownCell(text, " ".join(filter(None, (interval, cell.note))))


def _minus(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")


def embedded(row: PictureRow) -> dict[str, Any]:
    """Make thumbnails of a row of pictures that stand in the page itself."""
    pictures = []
    for picture in row.pictures:
        small = thumbnail(picture, _PICTURE_SIDE)
        data = base64.b64encode(encode_image(small)).decode("ascii")
        pictures.append(
            {"width": small.width, "height": small.height, "url": f"data:image/jpeg;base64,{data}"}
        )
    return {"label": row.label, "protected": row.protected, "pictures": pictures}


def policy(style: str, *, with_pictures: bool) -> str:
    """Let the browser load nothing, run nothing and send nothing."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    parts = ["default-src 'none'", f"style-src 'sha256-{digest}'", "base-uri 'none'", "form-action 'none'"]
    return "; ".join([*parts, "img-src data:"] if with_pictures else parts)
