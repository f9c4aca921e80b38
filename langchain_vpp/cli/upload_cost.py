"""Costs of sending pictures, at their own size and fitted to what providers keep: bytes of upload, image tokens."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from PIL import Image

from langchain_vpp.artifact import load_engine
from langchain_vpp.image_protector import ImageProtector
from langchain_vpp.images.codec import decode_image, encode_scaled
from langchain_vpp.providers import FAMILIES, fit_size

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_USUAL: Final = ((640, 480), (1024, 1024), (1920, 1080), (4000, 3000))
_UPLOAD: Final = "upload, bytes of base64"
_PICTURE_NOTE: Final = (
    "The picture itself as a JPEG of either size. Protected ones are smaller: less detail is left."
)
_ARTIFACT_NOTE: Final = "A drawn picture of this size, protected at level 0."


class UploadCost(NamedTuple):
    """Cost of one picture.

    Attributes:
        title: The picture, and its fitted size.
        rows: Kind of cost -> cost at the original's size, and cost of the fitted picture.
        note: The origin of the figures.
    """

    title: str
    rows: Mapping[str, tuple[int, int]]
    note: str

    def as_json(self) -> dict[str, Any]:
        """Return the cost as plain JSON."""
        rows = {name: {"same": same, "fit": fit} for name, (same, fit) in self.rows.items()}
        return {"picture": self.title, "costs": rows, "note": self.note}


def of_picture(path: Path) -> UploadCost:
    """Compute the cost of a picture. Nothing is sent or written.

    Args:
        path: File of the picture.

    Raises:
        ProtectionError: If it can't be decoded.
        OSError: If it can't be read.
    """
    data = path.read_bytes()
    image = decode_image(data)
    encoded = [encode_scaled(image, size) for size in (image.size, fit_size(*image.size))]
    return _cost(path.name, image.size, (len(encoded[0]), len(encoded[1])), _PICTURE_NOTE)


def of_artifact(folder: Path) -> list[UploadCost]:
    """Compute the cost of pictures of usual sizes after an artifact has protected them.

    Args:
        folder: The artifact.

    Raises:
        ArtifactError: If it can't be loaded.
    """
    engine = load_engine(folder)
    same, fit = (ImageProtector(engine, level=0.0, output_size=size) for size in ("same", "fit"))
    costs = []
    for width, height in _USUAL:
        data = _drawn(width, height)
        sent = (len(same.protect_encoded(data)), len(fit.protect_encoded(data)))
        costs.append(_cost(f"{width}x{height}", (width, height), sent, _ARTIFACT_NOTE))
    return costs


def _cost(name: str, size: tuple[int, int], sent: tuple[int, int], note: str) -> UploadCost:
    fitted = fit_size(*size)
    rows = {_UPLOAD: (-(-sent[0] // 3) * 4, -(-sent[1] // 3) * 4)}
    rows |= {f"tokens, {each.name}": (each.tokens(*size), each.tokens(*fitted)) for each in FAMILIES}
    shown = "x".join(map(str, fitted))
    return UploadCost(f"{name} -> {shown}", rows, note)


def _drawn(width: int, height: int) -> bytes:
    """Draw a picture with shapes of all sizes, as a JPEG."""
    drawn = Image.effect_mandelbrot((width, height), (-2.2, -1.2, 0.8, 1.2), 40).convert("RGB")
    file = io.BytesIO()
    drawn.save(file, "JPEG", quality=85)
    return file.getvalue()
