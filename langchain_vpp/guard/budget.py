"""Budget of a request: how many pictures, pixels, bytes and seconds protecting it may cost."""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields
from typing import Final

from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.bounds import MAX_PIXELS, SECONDS, Bounds

_SPENT: Final = (
    "Nothing was sent: the request needs more than {:,} {}. Send less, or raise {} (an option of RequestBudget, which "
    "the protector takes as budget=)."
)
_CHARACTERS_PER_BYTE: Final = 3  # in the longest notation for bytes in a URL
_ALWAYS_READ: Final = 10_000_000
_ENDED: Final = "Nothing was sent: the request ended before its pictures were protected."


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestBudget:
    """Bounds on what protecting one request may cost; a request that needs more is refused, and nothing is sent.

    Everything is counted before the work is done. Pictures that the protector knows from an earlier turn of the
    conversation need no work, and don't count.

    Attributes:
        pictures: Bound on the pictures, pages of documents and remote pictures of a request.
        pixels: Bound on the pixels that are decoded for a request, all pictures together. A JPEG is decoded at the
            scale at which it is needed; a progressive one is gone over several times.
        max_pixels: Bound on the pixels, width x height, of one picture, as it is decoded and as it leaves. Decoding
            takes up to 20 bytes per pixel.
        bytes: Bound on the encoded originals of a request, fetched ones included. A request of more than three times
            as many characters, and of more than ten million, is refused by its length alone.
        seconds: Time from the moment at which a request comes in until its pictures are protected, waiting included.

    Raises:
        ValueError: If a bound is not a positive number.

    Example:
        >>> RequestBudget(pictures=10, seconds=5).max_pixels
        64000000
    """

    pictures: int = 100
    pixels: int = 512_000_000
    max_pixels: int = MAX_PIXELS
    bytes: int = 100_000_000
    seconds: float = SECONDS

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            kinds = (int, float) if field.name == "seconds" else (int,)
            if type(value) not in kinds or not 0 < value < float("inf"):
                msg = f"{field.name} must be a positive {'number' if len(kinds) > 1 else 'whole number'}"
                raise ValueError(msg)

    def open(self) -> Account:
        """Open the account of a request, whose time runs from now on."""
        return Account(self)


class Account(Bounds):
    """Account of what is left of one request's budget. Thread-safe.

    Args:
        budget: The bounds.
    """

    def __init__(self, budget: RequestBudget) -> None:
        super().__init__(max_pixels=budget.max_pixels, seconds=budget.seconds)
        self._budget = budget
        self._left = {"pictures": budget.pictures, "pixels": budget.pixels, "bytes": budget.bytes}
        self._lock = threading.Lock()
        self._is_closed = False

    @property
    def pictures_left(self) -> int:
        """Pictures that the request may still bring."""
        return self._left["pictures"]

    @property
    def bytes_left(self) -> int:
        """Bytes that may still be fetched."""
        return self._left["bytes"]

    @property
    def is_closed(self) -> bool:
        """Whether nobody waits for the request any more."""
        return self._is_closed

    def check(self) -> None:
        """Go on, or end work for a request that has ended.

        Raises:
            ProtectionError: If the deadline has passed, or nobody waits any more.
        """
        super().check()
        if self._is_closed:
            raise ProtectionError(_ENDED)

    def spend(self, pixels: int) -> None:
        """Count pixels before they are decoded; see :meth:`Bounds.spend <langchain_vpp.images.bounds.Bounds.spend>`."""
        self._spend("pixels", pixels)

    def spend_pictures(self, count: int) -> None:
        """Count pictures before they are fetched or decoded.

        Raises:
            ProtectionError: If there are more than are left.
        """
        self._spend("pictures", count)

    def require_length(self, characters: int) -> None:
        """Refuse a request that is too long to be read.

        Raises:
            ProtectionError: If it has more characters than its bytes could have.
        """
        if characters > max(_ALWAYS_READ, _CHARACTERS_PER_BYTE * self._budget.bytes):
            raise ProtectionError(_SPENT.format(self._budget.bytes, "bytes", "bytes"))

    def spend_bytes(self, count: int) -> None:
        """Count bytes of originals as they come.

        Raises:
            ProtectionError: If there are more than are left.
        """
        self._spend("bytes", count)

    def close(self) -> None:
        """End all work for the request."""
        self._is_closed = True

    def _spend(self, what: str, amount: int) -> None:
        self.check()
        with self._lock:
            self._left[what] -= amount
            suffices = self._left[what] >= 0
        if not suffices:
            raise ProtectionError(_SPENT.format(getattr(self._budget, what), what, what))
