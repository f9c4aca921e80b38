"""Bounds on decoding: pixels of a picture, and the moment at which work ends."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Final

from langchain_vpp.errors import ProtectionError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PIXELS: Final = 64_000_000
"""Default bound on width x height: above the 50 MP of a telephone, below Pillow's own warning at 89 MP."""

SECONDS: Final = 60.0
"""Default bound on the time that one picture or one request may take."""

TOO_LARGE: Final = (
    "The picture was not protected: it has more than {:,} pixels. Make it smaller, or raise max_pixels (an option "
    "of RequestBudget, and --max-pixels of vpp protect)."
)


class Bounds:
    """Bounds on the cost of decoding; the account of a request builds upon this class.

    Args:
        max_pixels: Bound on the width x height that one picture is decoded to.
        seconds: Time until work ends, from now on.
    """

    def __init__(self, *, max_pixels: int = MAX_PIXELS, seconds: float = SECONDS) -> None:
        self.max_pixels = max_pixels
        self.deadline = time.monotonic() + seconds
        self._seconds = seconds

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline; not above zero once it has passed."""
        return self.deadline - time.monotonic()

    def check(self) -> None:
        """Go on, or end work whose time is up.

        Raises:
            ProtectionError: If the deadline has passed.
        """
        if time.monotonic() > self.deadline:
            raise self.late()

    def late(self) -> ProtectionError:
        """Return the error for work that took too long."""
        return ProtectionError(
            f"Nothing was sent: protecting the pictures took more than {self._seconds:g} seconds. Send fewer or "
            "smaller ones, or raise seconds (an option of RequestBudget)."
        )

    def spend(self, pixels: int) -> None:
        """Count pixels before they are decoded.

        Args:
            pixels: Width x height to which a picture is decoded, times the passes over it.

        Raises:
            ProtectionError: If that is more than is left.
        """


class TimedFile(io.BytesIO):
    """A file in memory whose reader is stopped when the time is up.

    Pillow asks for the parts of a file one after the other, so each question is an occasion to end.
    """

    def __init__(self, data: bytes, check: Callable[[], None]) -> None:
        super().__init__(data)
        self._check = check

    def read(self, size: int | None = -1, /) -> bytes:
        """Read, unless the time is up."""
        self._check()
        return super().read(size)
