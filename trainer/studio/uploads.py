"""Pictures that a browser has brought: in memory alone, a few for each session, the oldest making room."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.budget import RequestBudget
from langchain_vpp.images.codec import decode_scaled, resized
from langchain_vpp.images.pdf import rasterize_pdf
from langchain_vpp.providers import fit_size

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from PIL import Image

    from langchain_vpp.image_protector import ImageProtector

_Value = TypeVar("_Value")

BUDGET: Final = RequestBudget(pictures=20, pixels=256_000_000, bytes=48_000_000)
"""Bound on each file: pages, pixels, bytes and seconds."""
MOST_FILES: Final = 24
"""Files of a session."""
MOST_SESSIONS: Final = 6
_MOST_BYTES: Final = 120_000_000
"""Encoded files of a session."""
_MOST_COPIES: Final = 128_000_000
"""Bytes of decoded copies of a session's pictures."""
_MOST_RESULTS: Final = 24_000_000
"""Bytes of encoded pictures that a session has been shown."""
_GONE: Final = "The picture is no longer in memory: newer ones took its place. Drop it again."
_PDF: Final = b"%PDF-"


class Recent(Generic[_Value]):
    """The values that were used last, as many as fit into a number of bytes. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0
        self._values: OrderedDict[Hashable, tuple[_Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], tuple[_Value, int]]) -> _Value:
        """Return a value that is kept, or make it and keep it.

        Args:
            key: Name of the value.
            make: Returns the value and its size in bytes.
        """
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key][0]
        value, size = make()
        with self._lock:
            self._held += size - self._values.pop(key, (value, 0))[1]
            self._values[key] = value, size
            while self._held > self._most and len(self._values) > 1:
                self._held -= self._values.popitem(last=False)[1][1]
        return value


class Upload:
    """One file: a picture, or a document with its pages.

    Args:
        data: The encoded file.
        name: What the browser calls it; shown to the same browser alone.

    Attributes:
        id: Random name of the upload, which also names the conversation about it.
        is_document: Whether it is a PDF.
        sizes: Width and height of each page, upright.

    Raises:
        ProtectionError: If it can't be decoded, or is more than :data:`BUDGET` allows.
        MissingExtraError: If it is a PDF, and the extra ``documents`` is not installed.
    """

    def __init__(self, data: bytes, name: str, copies: Recent[Image.Image]) -> None:
        self.data, self.name, self._copies = data, name, copies
        self.id = secrets.token_hex(8)
        self.is_document = data[:1024].lstrip().startswith(_PDF)
        self.protectors: dict[tuple[str, str], ImageProtector] = {}
        """Protectors of this upload, each with what it has hidden in the conversation about it."""
        if self.is_document:
            pages = rasterize_pdf(data, max_pages=BUDGET.pictures, bounds=BUDGET.open())
            self._pages = [resized(page, fit_size(*page.size)) for page in pages]
            self.sizes = [page.size for page in pages]
        else:
            account = BUDGET.open()
            account.spend_bytes(len(data))
            scaled = decode_scaled(data, fit_size, bounds=account)
            self._pages, self.sizes = [], [scaled.original_size]
            self._copies.get((self.id, 0, scaled.image.size), lambda: (scaled.image, _weight(scaled.image)))

    def shown_size(self, page: int) -> tuple[int, int]:
        """Return the size at which a page is shown: the one that every main provider keeps."""
        return fit_size(*self.size(page))

    def size(self, page: int) -> tuple[int, int]:
        """Return the size of a page.

        Raises:
            ProtectionError: If there is no such page.
        """
        if not 0 <= page < len(self.sizes):
            raise ProtectionError("The document has no such page.")
        return self.sizes[page]

    def copy(self, page: int, size: tuple[int, int]) -> Image.Image:
        """Return a decoded copy of a page, scaled down as the gate does it; it must not be changed.

        Args:
            page: Counted from 0.
            size: Width and height, no larger than the page.
        """

        def make() -> tuple[Image.Image, int]:
            if self.is_document:
                image = resized(self._pages[page], size)
            else:
                image = decode_scaled(self.data, lambda *_: size, bounds=BUDGET.open()).image
            return image, _weight(image)

        return self._copies.get((self.id, page, size), make)


class Session:
    """Everything that one browser has brought, and what was made of it."""

    def __init__(self) -> None:
        self._uploads: OrderedDict[str, Upload] = OrderedDict()
        self._copies: Recent[Image.Image] = Recent(_MOST_COPIES)
        self.results: Recent[object] = Recent(_MOST_RESULTS)
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Upload]:
        """Iterate over the uploads, the oldest first."""
        with self._lock:
            return iter([*self._uploads.values()])

    def add(self, data: bytes, name: str) -> Upload:
        """Decode a file, and keep it; the oldest ones make room.

        Raises:
            ProtectionError: If it can't be decoded, or is too large.
        """
        upload = Upload(data, name, self._copies)
        with self._lock:
            self._uploads[upload.id] = upload
            while len(self._uploads) > MOST_FILES or (
                len(self._uploads) > 1
                and sum(len(each.data) for each in self._uploads.values()) > _MOST_BYTES
            ):
                self._uploads.popitem(last=False)
        return upload

    def upload(self, name: str) -> Upload:
        """Return an upload.

        Raises:
            ProtectionError: If it is no longer in memory.
        """
        with self._lock:
            if name in self._uploads:
                return self._uploads[name]
        raise ProtectionError(_GONE)

    def forget(self, name: str) -> None:
        """Forget an upload, and everything that was hidden in the conversation about it."""
        with self._lock:
            self._uploads.pop(name, None)


class Sessions:
    """The sessions of a studio; the one that was used longest ago makes room."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, name: str) -> bool:
        """Say whether a session is open."""
        with self._lock:
            return name in self._sessions

    def open(self) -> str:
        """Begin a session, and return its name, which is a secret."""
        name = secrets.token_urlsafe(32)
        with self._lock:
            self._sessions[name] = Session()
            while len(self._sessions) > MOST_SESSIONS:
                self._sessions.popitem(last=False)
        return name

    def get(self, name: str) -> Session:
        """Return a session.

        Raises:
            ProtectionError: If it has made room since its request came in.
        """
        with self._lock:
            if name in self._sessions:
                self._sessions.move_to_end(name)
                return self._sessions[name]
        raise ProtectionError(_GONE)


def _weight(image: Image.Image) -> int:
    return image.width * image.height * len(image.getbands())
