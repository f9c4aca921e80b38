"""An image block is made from a path, bytes or a picture; its type is told by its content, and errors are clear."""

from __future__ import annotations

import base64
import io

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import HumanMessage
from PIL import Image

from langchain_vpp import ImageProtector, ProtectionError, image_block, protect
from langchain_vpp.engines import Pixelate

PICTURE = Image.effect_noise((32, 24), 50).convert("RGB")


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    PICTURE.save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_bytes_and_paths_become_blocks_whatever_the_name_says(kind, tmp_path):
    data = encoded(kind)
    path = tmp_path / "picture.txt"
    path.write_bytes(data)
    block = image_block(data)
    assert block == image_block(path) == image_block(str(path))
    assert block["mime_type"] == f"image/{kind.lower()}"
    assert base64.b64decode(block["base64"]) == data


def test_a_pil_image_becomes_a_png_and_the_protected_model_replaces_the_original():
    block = image_block(PICTURE)
    model = protect(FakeListChatModel(responses=["noise"]), ImageProtector(Pixelate(), level=1.0))
    answer = model.invoke([HumanMessage([{"type": "text", "text": "What is it?"}, block])])
    assert answer.response_metadata["vpp"]["images"][0]["level"] == 1.0


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("nowhere.jpg", "there is no such file"),
        (".", "it is a folder"),
        ("a\0b", "no name of a file|no such file"),
        ("https://example.com/secret.jpg", "it is an address. Download"),
        ("data:image/png;base64,AAAA", "it is a data URL"),
        (b"", "it is empty"),
        (b"%PDF-1.7 secret", "it is a PDF document"),
        (b"secret", "it is no JPEG, PNG"),
        (7, "must be a PIL image, encoded bytes or a path"),
    ],
)
def test_what_is_no_picture_is_refused_without_naming_it(given, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProtectionError, match=reason) as caught:
        image_block(given)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
