"""Pictures and policies for the tests of the walk."""

from __future__ import annotations

import base64
import io
import random
from typing import TYPE_CHECKING

from PIL import Image

from langchain_vpp.messages.plan import ContentPolicy
from langchain_vpp.messages.walk import plan_messages

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

JPEG = b"\xff\xd8\xff\xe0protected"
FRESH = {"type": "image", "base64": base64.b64encode(JPEG).decode(), "mime_type": "image/jpeg"}
STRICT = ContentPolicy()
DROP = ContentPolicy(on_unsupported="drop")


def encode(file_format: str) -> bytes:
    picture = Image.frombytes("RGB", (24, 24), random.Random(7).randbytes(24 * 24 * 3))
    file = io.BytesIO()
    picture.save(file, file_format)
    return file.getvalue()


PICTURE = encode("PNG")


def protect(messages: list[BaseMessage], policy: ContentPolicy = STRICT) -> list[BaseMessage]:
    plan = plan_messages(messages, policy)
    return plan.rebuild([[JPEG] for _ in plan.sources])
