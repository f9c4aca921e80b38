"""Single pictures: decode, run the engine, encode, each at the size that is needed."""

from __future__ import annotations

import hashlib
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from PIL import Image

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.foreign import call_foreign
from langchain_vpp.guard.memo import Output, PictureMemo, Recipe
from langchain_vpp.guard.pool import ISOLATED, LARGE, SMALL, SMALL_COST
from langchain_vpp.guard.receipt import SentImage
from langchain_vpp.images.bounds import TOO_LARGE
from langchain_vpp.images.codec import (
    ScaledImage,
    decode_scaled,
    decoding_work,
    encode_scaled,
    is_isolated,
    resized,
    strip_metadata,
)
from langchain_vpp.images.structure import look_at
from langchain_vpp.network.config import working_size
from langchain_vpp.providers import fit_size, within

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_vpp.engines import Engine
    from langchain_vpp.guard.budget import Account
    from langchain_vpp.guard.pool import FairPool, Steps
    from langchain_vpp.images.structure import Structure


OutputSize = Literal["same", "fit"] | int | tuple[int, int]
"""Values of ``ImageProtector(output_size=...)``."""

# The largest side of a JPEG.
_MAX_SIDE: Final = 65_500


class PicturePipeline:
    """Protects encoded pictures. Thread-safe.

    Args:
        engine: Rewrites the pixels.
        output_size: The size at which pictures leave; see ``ImageProtector``.
        memo_bytes: Bound on the protected pictures that are kept.
        names_originals: Whether records name the digests of the originals.

    Raises:
        TypeError: If ``engine`` has no ``protect``.
        ValueError: If the size is unknown, or the bound negative.
    """

    def __init__(
        self, engine: Engine, *, output_size: OutputSize, memo_bytes: int, names_originals: bool
    ) -> None:
        if not callable(getattr(engine, "protect", None)):
            msg = "engine must have a method protect(image, level)"
            raise TypeError(msg)
        if memo_bytes < 0:
            msg = "memo_bytes must not be negative"
            raise ValueError(msg)
        name = getattr(engine, "name", None)
        digest = getattr(engine, "digest", None)
        resolution = getattr(engine, "working_resolution", None)
        self.engine_name = name if isinstance(name, str) else type(engine).__name__
        self.artifact = digest if isinstance(digest, str) else None
        self._engine = engine
        self._working_resolution = resolution if type(resolution) is int and resolution > 0 else None
        self._output_size = _checked_output_size(output_size)
        self._memo = PictureMemo(memo_bytes)
        self._names_originals = names_originals

    def protect_image(self, data: bytes, level: float, account: Account) -> Image.Image:
        """Decode and protect a picture, in the thread of the caller.

        Raises:
            ProtectionError: If it can't be decoded or protected, or is more than the request may cost.
        """
        picture = self.decoded(data, account)
        protected = self._run_engine(picture.image, level)
        size = self._sent_size(*picture.original_size)
        return protected if protected.size == size else protected.resize(size, Image.Resampling.BICUBIC)

    def protect_encoded(self, data: bytes, level: float, account: Account) -> bytes:
        """Protect a picture from encoded bytes to the bytes of a JPEG, in the thread of the caller.

        Raises:
            ProtectionError: If it can't be decoded, protected or encoded, or is more than the request may cost.
        """
        return self._encoded(self.decoded(data, account), level, account)

    def decoded(self, data: bytes, account: Account) -> ScaledImage:
        """Decode the only picture of a request, at the size that the engine gets.

        Raises:
            ProtectionError: If it can't be decoded, or is more than the request may cost.
        """
        account.spend_pictures(1)
        account.spend_bytes(len(data))
        return self._decoded(data, None, account)

    def protect_files(
        self, originals: Mapping[Recipe, bytes], account: Account
    ) -> Steps[dict[Recipe, tuple[Output, ...]]]:
        """Protect pictures and PDFs, each once; those in the memo are taken from there.

        The work that has to be waited for is yielded.

        Returns:
            For each recipe, the protected picture, or the protected pages.

        Raises:
            ProtectionError: If any of them can't be decoded, protected or encoded, or all are more than the request may
                cost.
        """
        made = {recipe: outputs for recipe in originals if (outputs := self._memo.get(recipe)) is not None}
        missing = [recipe for recipe in originals if recipe not in made]
        if missing:
            account.spend_pictures(len(missing))
            account.spend_bytes(sum(len(originals[recipe]) for recipe in missing))
            futures = []
            for recipe in missing:
                pool, cost, structure = self._line_for(originals[recipe], is_document=recipe.is_document)
                futures.append(
                    pool.submit(
                        partial(self._protect_file, originals[recipe], recipe, structure, account),
                        cost=cost,
                        account=account,
                    )
                )
            made |= zip(missing, (yield futures), strict=True)
        return made

    def _line_for(self, data: bytes, *, is_document: bool = False) -> tuple[FairPool, int, Structure | None]:
        """Return the threads that decode a file, its cost there, and its structure."""
        structure = None if is_document else look_at(data)
        if structure is None or is_isolated(structure):
            return ISOLATED, 1, structure
        sent = self._sent_size(*structure.size)
        cost = decoding_work(structure, self._seen_size) + sent[0] * sent[1]
        return (SMALL if cost <= SMALL_COST else LARGE), cost, structure

    def _protect_file(
        self, data: bytes, recipe: Recipe, structure: Structure | None, account: Account
    ) -> tuple[Output, ...]:
        started = time.perf_counter()
        pictures = (
            self._pages(data, account) if recipe.is_document else [self._decoded(data, structure, account)]
        )
        original = hashlib.sha256(data).hexdigest() if self._names_originals else None
        outputs = []
        for picture in pictures:
            encoded = self._encoded(picture, recipe.level, account)
            now = time.perf_counter()
            milliseconds = round((now - started) * 1000, 3)
            sent = SentImage(hashlib.sha256(encoded).hexdigest(), recipe.level, milliseconds, original)
            outputs.append(Output(encoded, sent))
            started = now
        return self._memo.put(recipe, tuple(outputs))

    def _decoded(self, data: bytes, structure: Structure | None, account: Account) -> ScaledImage:
        def seen_size(width: int, height: int) -> tuple[int, int]:
            sent = self._sent_size(width, height)
            if sent[0] * sent[1] > account.max_pixels:
                raise ProtectionError(TOO_LARGE.format(account.max_pixels))
            return self._seen_size(width, height)

        return decode_scaled(data, seen_size, bounds=account, structure=structure)

    def _pages(self, data: bytes, account: Account) -> list[ScaledImage]:
        from langchain_vpp.images.pdf import MAX_PAGES, rasterize_pdf  # noqa: PLC0415  extra `documents`

        pages = rasterize_pdf(data, max_pages=min(MAX_PAGES, account.pictures_left + 1), bounds=account)
        account.spend_pictures(len(pages) - 1)
        return [ScaledImage(resized(page, self._seen_size(*page.size)), page.size) for page in pages]

    def _encoded(self, picture: ScaledImage, level: float, account: Account) -> bytes:
        account.check()
        protected = self._run_engine(picture.image, level)
        account.check()
        return encode_scaled(protected, self._sent_size(*picture.original_size))

    def _seen_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the size at which the engine gets a picture: no larger than it looks at, or than what leaves."""
        if self._working_resolution is not None:
            return working_size(width, height, self._working_resolution)
        return self._sent_size(width, height)

    def _sent_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the size at which a picture leaves."""
        if self._output_size == "same":
            return width, height
        if self._output_size == "fit":
            return fit_size(width, height)
        box = self._output_size
        return within(width, height, (box, box) if isinstance(box, int) else box)

    def _run_engine(self, image: Image.Image, level: float) -> Image.Image:
        size = image.size
        protected = call_foreign("engine", lambda: self._engine.protect(image, level))
        if not isinstance(protected, Image.Image) or protected is image:
            raise ProtectionError("The engine did not return a new picture, so nothing was sent.")
        if protected.mode != "RGB" or protected.size != size:
            raise ProtectionError(
                "The engine did not return an RGB picture of the same size, so nothing was sent."
            )
        # Pixels only: an engine that carried `info` over would carry metadata over.
        return call_foreign("engine", lambda: strip_metadata(protected))


def _checked_output_size(size: Any) -> OutputSize:
    if size in ("same", "fit"):
        return "same" if size == "same" else "fit"
    sides = (size,) if not isinstance(size, tuple) else size
    if len(sides) not in (1, 2) or not all(type(side) is int and 0 < side <= _MAX_SIDE for side in sides):
        msg = f"output_size must be same, fit, or one or two numbers of pixels from 1 to {_MAX_SIDE}"
        raise ValueError(msg)
    return size if isinstance(size, int) else (sides[0], sides[-1])
