"""Encoded pictures, and what is said when one is refused."""

from __future__ import annotations

import io
import random
import struct
import zlib
from typing import Any

import pytest
from PIL import Image

from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.codec import decode_image


def encode(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def noise(width: int = 32, height: int = 24) -> Image.Image:
    return Image.frombytes("RGB", (width, height), random.Random(1).randbytes(width * height * 3))


def refusal_of(data: bytes, **options: Any) -> str:
    with pytest.raises(ProtectionError) as refusal:
        decode_image(data, **options)
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None
    return str(refusal.value)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def near(pixel: Any, expected: tuple[int, int, int], tolerance: int = 12) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(pixel, expected, strict=True))
