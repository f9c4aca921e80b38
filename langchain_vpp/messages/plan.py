"""The plan that a walk makes: messages, the pictures found in them, and how protected ones take their places.

One shape of block comes out, ``{"type": "image", "base64": ..., "mime_type": "image/jpeg"}``: every provider package
takes it. A picture in OpenAI's shape keeps that shape if it has settings, which would not be read in the other. A film
comes out as ``{"type": "video", "base64": ..., "mime_type": "video/mp4"}``, if films are wanted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.codec import ENCODED_MIME_TYPE
from langchain_vpp.messages.base64 import encode_base64

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    _Fillings = Sequence[tuple[str, Sequence[bytes]]]

_JPEG: Final = b"\xff\xd8\xff"
"""First bytes of a JPEG."""
_FILM_MIME_TYPE: Final = "video/mp4"
NOTE: Final = "[removed: content that could not be protected]"
"""Text in the place of refused content under ``on_unsupported="drop"``."""


VIDEO_HEADING: Final = "A video, shown by {} of its frames in their order:"
"""Text in front of the frames of a video."""


@dataclass(frozen=True)
class ContentPolicy:
    """Reactions to content that is not simply a picture.

    Attributes:
        on_unsupported: Refuse the whole call, or replace the content by a note. It never passes.
        on_remote_url: Refuse pictures by http(s) URL, or have them fetched and protected.
        on_document: Refuse PDFs, or have their pages drawn and protected.
        on_video: Refuse videos, or have frames of them protected, or all frames, as a film.
    """

    on_unsupported: Literal["raise", "drop"] = "raise"
    on_remote_url: Literal["raise", "fetch"] = "raise"
    on_document: Literal["raise", "rasterize"] = "raise"
    on_video: Literal["raise", "sample", "encode"] = "raise"


@dataclass(frozen=True)
class PixelSource:
    """An original that was found, and must not travel on.

    Attributes:
        kind: Those of kind ``url`` and ``sealed`` have a ``reference``, the others have ``data``.
        data: The encoded picture, the PDF, or the video, of which frames are wanted or a film.
        reference: An http(s) URL or a ``vpp://`` handle.
    """

    kind: Literal["image", "url", "sealed", "document", "video", "film"]
    data: bytes | None = field(default=None, repr=False)
    reference: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Slot:
    """The place in a planned content list where the protected pictures of one source will stand.

    Attributes:
        index: Place of the source.
        settings: Settings of the picture that its provider reads; see
            :func:`langchain_vpp.messages.dialects.picture_settings`.
        in_openai_shape: Whether the settings are read in OpenAI's shape of a picture only.
    """

    index: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    in_openai_shape: bool = False


class PlannedMessage(NamedTuple):
    """A message that was walked.

    Attributes:
        message: The message itself.
        fields: All its fields as they were walked, if any of them has to change.
        sources: Places of its pictures in the plan's sources.
    """

    message: BaseMessage
    fields: Mapping[str, Any] | None
    sources: range


class MessagePlan:
    """Messages that were walked completely, and the pictures found in them.

    Attributes:
        messages: The messages in their order.
        sources: The pictures that have to be protected, in the order of the walk.
        dropped: Whether a note took the place of anything.
    """

    def __init__(
        self,
        messages: Sequence[PlannedMessage],
        sources: Sequence[PixelSource],
        *,
        droppable: bool,
        dropped: bool = False,
    ) -> None:
        self.messages = tuple(messages)
        self.sources = tuple(sources)
        self.dropped = dropped
        self._droppable = droppable

    def __repr__(self) -> str:
        return f"MessagePlan({len(self.messages)} messages, {len(self.sources)} sources)"

    def rebuild(
        self, images: Sequence[Sequence[bytes]], *, videos: Collection[int] = ()
    ) -> list[BaseMessage]:
        """Build the messages that may be sent.

        Args:
            images: For each of ``sources`` the encoded JPEGs that replace it: one for a picture, one per page
                for a document, and one per frame for a video; an MP4 for a film. None at all, which only
                ``on_unsupported="drop"`` allows, leaves a note.
            videos: Places of the sources that turned out to be videos, whose frames get a heading.

        Returns:
            The same objects where nothing had to change, freshly built messages elsewhere. The messages
            that were planned are not touched.

        Raises:
            ProtectionError: If ``images`` doesn't answer to ``sources``, or holds anything but JPEGs, or films where
                these are wanted.
        """
        if len(images) != len(self.sources):
            raise ProtectionError("Nothing was sent: not every picture was protected.")
        for source, pages in zip(self.sources, images, strict=True):
            if not pages and not self._droppable:
                raise ProtectionError("Nothing was sent: a picture was not protected.")
            if len(pages) > 1 and source.kind not in ("document", "video", "sealed"):
                raise ProtectionError("Nothing was sent: a picture came back as several.")
            is_film = source.kind in ("film", "sealed") and len(pages) == 1 and _is_film(pages[0])
            if not is_film and not all(isinstance(each, bytes) and each.startswith(_JPEG) for each in pages):
                raise ProtectionError("Nothing was sent: a protected picture is not an encoded JPEG.")
        headings = [VIDEO_HEADING if place in videos else "" for place in range(len(images))]
        fillings = [*zip(headings, images, strict=True)]
        return [
            planned.message
            if planned.fields is None
            else _fresh_message(planned.message, planned.fields, fillings)
            for planned in self.messages
        ]


def copied(value: Any) -> Any:
    """Copy lists and dicts of the built-in classes, so that nobody else can change them."""
    if type(value) is dict:
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if type(value) is list else value


def note() -> dict[str, str]:
    """Build the block that stands for a refused one."""
    return {"type": "text", "text": NOTE}


def _fresh_message(message: BaseMessage, walked: Mapping[str, Any], fillings: _Fillings) -> BaseMessage:
    """Build a message of the same class from walked fields only; caches and private state stay behind."""
    known = {*type(message).model_fields, *(message.__pydantic_extra__ or {})}
    return type(message).model_construct(
        _fields_set=set(message.model_fields_set),
        **{name: _filled(value, fillings) for name, value in walked.items() if name in known},
    )


def _filled(value: Any, fillings: _Fillings) -> Any:
    """Put fresh image blocks in the place of the slots."""
    if type(value) is dict:
        return {key: _filled(item, fillings) for key, item in value.items()}
    if type(value) is not list:
        return value
    filled: list[Any] = []
    for item in value:
        if not isinstance(item, Slot):
            filled.append(_filled(item, fillings))
            continue
        heading, images = fillings[item.index]
        if heading and images:
            filled.append({"type": "text", "text": heading.format(len(images))})
        filled.extend([_image_block(image, item) for image in images] or [note()])
    return filled


def _is_film(encoded: bytes) -> bool:
    return isinstance(encoded, bytes) and encoded[4:8] == b"ftyp"


def _image_block(image: bytes, slot: Slot) -> dict[str, Any]:
    encoded = encode_base64(image)
    if _is_film(image):  # settings are those of pictures
        return {"type": "video", "base64": encoded, "mime_type": _FILM_MIME_TYPE}
    settings = copied(dict(slot.settings))
    if not slot.in_openai_shape:
        return {"type": "image", "base64": encoded, "mime_type": ENCODED_MIME_TYPE, **settings}
    url = {"url": f"data:{ENCODED_MIME_TYPE};base64,{encoded}"}
    if "detail" in settings:
        url["detail"] = settings.pop("detail")
    return {"type": "image_url", "image_url": url, **settings}
