"""Values whose pictures are protected where they stand: state of a graph, arguments of a tool, decision requests.

Each picture keeps its form: bytes stay bytes, base64 stays base64, a data URL stays one and a PIL image stays one, so
that whoever reads the value can go on reading it. Objects of unknown classes pass, as they do among the arguments of a
call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from langchain_core.messages import BaseMessage, HumanMessage
from PIL import Image

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.pool import in_thread
from langchain_vpp.images.codec import ENCODED_MIME_TYPE, decode_image
from langchain_vpp.images.given import image_bytes
from langchain_vpp.messages.base64 import decode_base64, encode_base64
from langchain_vpp.messages.file_headers import find_file_header
from langchain_vpp.messages.plan import NOTE
from langchain_vpp.messages.tree import Finding, TreeWalk, find_media

if TYPE_CHECKING:
    from langchain_core.callbacks import Callbacks

    from langchain_vpp.guard.gate import Gate
    from langchain_vpp.guard.level import RequestLevel
    from langchain_vpp.messages.registry import Shape

_MIME_KEYS: Final = frozenset({"mime_type", "media_type", "mimeType", "mediaType"})


def protect_in_place(
    protector: Gate,
    value: Any,
    *,
    place: str,
    level: RequestLevel | None,
    callbacks: Callbacks = None,
    conversation: str | None = None,
) -> Any:
    """Protect the messages and the pictures anywhere in a value.

    Args:
        protector: Protects the pictures.
        value: Anything.
        place: Name of the value in errors, such as "the arguments of a tool".
        level: The level that the request names, or None.
        callbacks: The callbacks of the request, if an enclosing run may have recorded the value.
        conversation: Name of the conversation that names private values.

    Returns:
        The value itself if nothing in it had to change; otherwise a value of the same form.

    Raises:
        ProtectionError: If anything can't be protected: a picture inside of other text, pixels in an array, an
            open file, bytes that are too long to tell.
    """
    if find_media(value, unknown="pass") is None:
        return value
    return InPlaceProtection(protector, place, level, callbacks, conversation).value(value)


async def aprotect_in_place(
    protector: Gate,
    value: Any,
    *,
    place: str,
    level: RequestLevel | None,
    callbacks: Callbacks = None,
    conversation: str | None = None,
) -> Any:
    """Run :func:`protect_in_place` in a thread."""
    options: dict[str, Any] = {"level": level, "callbacks": callbacks, "conversation": conversation}
    return await in_thread(lambda: protect_in_place(protector, value, place=place, **options))


class InPlaceProtection(TreeWalk):
    """Replaces pictures by protected ones of the same form.

    Args:
        protector: Protects the pictures.
        place: Name of the value in errors.
        level: The level that the request names, or None.
        callbacks: The callbacks of the request.
        conversation: Name of the conversation that names private values.
    """

    def __init__(
        self,
        protector: Gate,
        place: str,
        level: RequestLevel | None,
        callbacks: Callbacks,
        conversation: str | None = None,
    ) -> None:
        super().__init__()
        self._protector = protector
        self._place = place
        self._level = level
        self._callbacks = callbacks
        self._conversation = conversation

    def value(self, value: Any, opaque: Any = None, depth: int = 0) -> Any:
        """See :meth:`TreeWalk.value`. Messages pass the gate."""
        if isinstance(value, BaseMessage):
            admitted = self.admitted(value)
            return value if admitted == value and not self.copies else admitted
        return super().value(value, opaque, depth)

    def keyed(self, value: Any, parts: dict[Any, Any], shape: Shape, opaque: Any, depth: int) -> Any:
        """See :meth:`TreeWalk.keyed`. What names the format of a picture is changed with it."""
        walked = super().keyed(value, parts, shape, opaque, depth)
        if type(walked) is not dict or all(item is parts.get(key) for key, item in walked.items()):
            return walked
        return {key: _relabelled(key, item, walked) for key, item in walked.items()}

    def refuse(self, finding: Finding, value: Any) -> Any:
        """See :meth:`TreeWalk.refuse`."""
        if finding.kind == "unknown":
            return value
        if (protected := self._same_form(value)) is not None:
            # What this protector has put out stays the same object.
            return value if type(protected) in (str, bytes) and protected == value else protected
        if finding.kind != "deep" and self._protector.content_policy.on_unsupported == "drop":
            return NOTE
        raise ProtectionError(
            f"Nothing was sent: in {self._place}, {finding.reason}. Put the picture into a message or a content "
            "block, or give it by itself."
        )

    def admitted(self, message: BaseMessage) -> BaseMessage:
        """Return a message as the gate puts it out.

        Raises:
            ProtectionError: If anything in it can't be protected.
        """
        admission = self._protector.admit(
            [message], level=self._level, callbacks=self._callbacks, conversation=self._conversation
        )
        return admission.messages[0]

    def _same_form(self, value: Any) -> Any:
        """Return the protected picture in the form of ``value``; ``None`` if that is no picture by itself."""
        if isinstance(value, Image.Image):
            protected = self._protected(image_bytes(value))
            return decode_image(protected) if isinstance(protected, bytes) else protected
        if isinstance(value, str):
            is_url, data = _decoded(value)
            if find_file_header(data) != 0:
                return None
            protected = self._protected(data)
            if not isinstance(protected, bytes):
                return protected
            encoded = encode_base64(protected)
            return f"data:{ENCODED_MIME_TYPE};base64,{encoded}" if is_url else encoded
        if isinstance(value, (bytes, bytearray, memoryview)):
            data = bytes(value)
            return self._protected(data) if find_file_header(data) == 0 else None
        return None

    def _protected(self, data: bytes) -> bytes | str:
        """Return the protected picture, or a note in its place."""
        # As a message, because the gate knows the pictures again that it has put out.
        block: dict[str, Any] = {"type": "image", "base64": encode_base64(data)}
        content: Any = self.admitted(HumanMessage([block])).content
        if len(content) != 1:
            raise ProtectionError(f"Nothing was sent: in {self._place}, the pages of a PDF have no place.")
        return decode_base64(content[0]["base64"]) or NOTE if "base64" in content[0] else NOTE


def _decoded(text: str) -> tuple[bool, bytes]:
    """Say whether a text is a data URL, and return what it decodes to; nothing if it isn't base64 by itself."""
    header, comma, payload = text.strip().partition(",")
    if not comma or header[:5].lower() != "data:":
        return False, decode_base64(text.strip()) or b""
    data = unquote_to_bytes(payload)
    if "base64" in header.lower().split(";"):
        data = decode_base64(data.decode("ascii", errors="replace")) or b""
    return True, data


def _relabelled(key: Any, item: Any, parts: dict[Any, Any]) -> Any:
    """Return a part of a dict in which a picture changed: the name of its format is that of the new one."""
    if not isinstance(item, str):
        return item
    if key in _MIME_KEYS and item.startswith("image/"):
        return ENCODED_MIME_TYPE
    return "jpeg" if key == "format" and "source" in parts else item
