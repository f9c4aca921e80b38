"""Files that hold several pictures: the pages of a document, and the frames of a video."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from langchain_vpp.engines.clip import Steadier
from langchain_vpp.engines.words.reader import Word
from langchain_vpp.guard.unfamiliar import ProtectedFile
from langchain_vpp.images.sizes import resized
from langchain_vpp.images.video import FRAME_SIDE, MOST_FRAMES, VideoWriter, decode_video, sample_video
from langchain_vpp.providers import within

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image

    from langchain_vpp.guard.budget import Account
    from langchain_vpp.guard.unfamiliar import Protected
    from langchain_vpp.images.pdf import PrintedWord

    Scaling = Callable[[int, int], tuple[int, int]]

_FRAMES_AHEAD: Final = 15
"""Frames of a video to which covers of later frames are carried."""
_MOST_PRINTED: Final = 3_000
"""Words that a page may say it has; a page of small print has half as many."""


class FilePicture(NamedTuple):
    """A picture of a file.

    Attributes:
        image: The picture, at the size at which the engine sees it.
        original_size: Its width and height.
        words: What its document says about its words.
    """

    image: Image.Image
    original_size: tuple[int, int]
    words: tuple[PrintedWord, ...] = ()

    def printed(self) -> list[Word]:
        """Return the words of the document at their places in the picture; none if they are too many to be judged."""
        if len(self.words) > _MOST_PRINTED:
            return []
        across, down = (seen / whole for seen, whole in zip(self.image.size, self.original_size, strict=True))
        return [
            Word(each.text, (each.box[0] * across, each.box[1] * down, each.box[2] * across, each.box[3] * down), 1.0,
                 each.line)
            for each in self.words
        ]  # fmt: skip


def pages_of(data: bytes, account: Account, seen_size: Scaling, *, reads_words: bool) -> list[FilePicture]:
    """Draw the pages of a PDF.

    Args:
        data: The file.
        account: The request that asks.
        seen_size: Function from the size of a page to the size at which the engine sees it.
        reads_words: Whether the words of its text are wanted.

    Raises:
        ProtectionError: If it can't be drawn, or is more than the request may cost.
    """
    from langchain_vpp.images.pdf import MAX_PAGES, Page, rasterize_pdf, read_pdf  # noqa: PLC0415  extra `documents`

    most = min(MAX_PAGES, account.pictures_left + 1)
    if reads_words:
        pages = read_pdf(data, max_pages=most, bounds=account)
    else:
        pages = [Page(page) for page in rasterize_pdf(data, max_pages=most, bounds=account)]
    account.spend_pictures(len(pages) - 1)
    return [
        FilePicture(resized(page.image, seen_size(*page.image.size)), page.image.size, page.words)
        for page in pages
    ]


def frame_size(width: int, height: int) -> tuple[int, int]:
    """Return the size at which a frame of a video is sent: at most 768 pixels along the longest side."""
    return within(width, height, (FRAME_SIDE, FRAME_SIDE))


def frames_of(data: bytes, account: Account, seen_size: Scaling) -> list[FilePicture]:
    """Decode frames of a video, at most 768 pixels along the longest side.

    Args:
        data: The file.
        account: The request that asks.
        seen_size: Function from the size of a frame to the size at which the engine sees it.

    Raises:
        ProtectionError: If it can't be decoded, or is more than the request may cost.
    """
    frames = sample_video(
        data,
        lambda width, height: seen_size(*frame_size(width, height)),
        most_frames=min(MOST_FRAMES, account.pictures_left + 1),
        bounds=account,
    )
    account.spend_pictures(len(frames) - 1)
    return [FilePicture(each.image, frame_size(*each.size)) for each in frames]


def protected_video(
    data: bytes,
    account: Account,
    protect: Callable[[Image.Image], Protected],
    seen_size: Scaling,
    sent_size: Scaling,
) -> ProtectedFile:
    """Protect a video frame by frame.

    Args:
        data: The file.
        account: The request that asks.
        protect: Protects a frame.
        seen_size: Function from the size of a frame to the size at which it is protected.
        sent_size: Function from the size of a frame to its size in the protected video.

    Returns:
        An MP4, unfamiliar if any frame is.

    Raises:
        ProtectionError: If it can't be decoded or protected, or is more than the request may cost.
    """
    steadier, writer = Steadier(_FRAMES_AHEAD), None
    times: deque[float] = deque()
    marks: set[Literal["covered", "shown"] | None] = set()
    for frame, second in decode_video(data, seen_size, bounds=account):
        account.check()
        writer = writer or VideoWriter(sent_size(*frame.size))
        times.append(second)
        protected = protect(frame.image)
        marks.add(protected.unfamiliar)
        for image in steadier.push(frame.image, protected.image):
            writer.add(image, times.popleft())
    assert writer is not None  # a video without a picture is refused
    for image in steadier.rest():
        writer.add(image, times.popleft())
    return ProtectedFile(
        writer.close(), "shown" if "shown" in marks else "covered" if "covered" in marks else None
    )


def film_of(
    data: bytes,
    account: Account,
    protect: Callable[[Image.Image], Protected],
    seen_size: Scaling,
    sent_size: Scaling,
) -> ProtectedFile:
    """Protect a video of a message, at most 768 pixels along the longest side; see :func:`protected_video`."""
    return protected_video(
        data,
        account,
        protect,
        lambda width, height: seen_size(*frame_size(width, height)),
        lambda width, height: frame_size(*sent_size(width, height)),
    )
