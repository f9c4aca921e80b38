"""Pictures, messages and engines for the tests of the gate."""

from __future__ import annotations

import base64
import io
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage, HumanMessage
from PIL import Image

from langchain_vpp.engines import Pixelate
from tests.integration.recording import noise_png

PICTURE = noise_png(21)
OTHER = noise_png(22)


def human(*pictures: bytes) -> list[BaseMessage]:
    blocks = [
        {"type": "image", "base64": base64.b64encode(picture).decode(), "mime_type": "image/png"}
        for picture in pictures
    ]
    return [HumanMessage([{"type": "text", "text": "What?"}, *blocks])]


def sent_pictures(messages: list[BaseMessage]) -> list[bytes]:
    return [
        base64.b64decode(block["base64"])
        for message in messages
        for block in message.content
        if isinstance(block, dict) and block["type"] == "image"
    ]


class Counting:
    """Pixelate, but counts."""

    def __init__(self) -> None:
        self.calls: list[float] = []

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        self.calls.append(level)
        return Pixelate().protect(image, level)


class Returning:
    def __init__(self, make: Any) -> None:
        self.make = make

    def protect(self, image: Image.Image, level: float) -> Any:
        return self.make(image)


class Seeing:
    """Notes the sizes that it is given; looks at 64 pixels at most if told so."""

    def __init__(self, working_resolution: int | None = None) -> None:
        self.sizes: list[tuple[int, int]] = []
        if working_resolution is not None:
            self.working_resolution = working_resolution

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        self.sizes.append(image.size)
        return image.copy()


def gradient(width: int, height: int, file_format: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(file, file_format, **options)
    return file.getvalue()


class Recording(BaseCallbackHandler):
    def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
        pass
