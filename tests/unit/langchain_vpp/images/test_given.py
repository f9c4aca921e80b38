"""Pictures as they are given: a PIL image in any mode comes to the same pixels as the file that it was read from."""

from __future__ import annotations

import base64
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.codec import decode_image
from langchain_vpp.images.given import image_bytes
from langchain_vpp.testing import assert_no_leak
from tests.integration.recording import noise_png

if TYPE_CHECKING:
    from pathlib import Path

SIZE = (40, 24)
WHITE = (255, 255, 255)
RED = Image.new("RGBA", SIZE, (255, 0, 0, 0))
PICTURE = noise_png(51, SIZE)


def _transparent_palette() -> Image.Image:
    image = Image.new("P", SIZE, 5)
    image.putpalette([0, 0, 0] * 5 + [255, 0, 0] + [0] * 750)
    image = image.convert("PA")
    image.putalpha(Image.new("L", SIZE, 0))
    return image


def _array(value: float, kind: Any) -> Image.Image:
    return Image.fromarray(np.full(SIZE[::-1], value, kind))


def _colour(image: Image.Image) -> Any:
    return decode_image(image_bytes(image)).getpixel((20, 12))


@pytest.mark.parametrize(
    ("image", "colour"),
    [
        (_transparent_palette(), WHITE),
        (RED, WHITE),
        (RED.convert("RGBa"), WHITE),
        (Image.new("LA", SIZE, (10, 0)), WHITE),
        (Image.new("LA", SIZE, (10, 0)).convert("La"), WHITE),
        (Image.new("LA", SIZE, (10, 255)).convert("La"), (10, 10, 10)),
        (Image.new("RGBX", SIZE, (1, 2, 3, 4)), (1, 2, 3)),
        (Image.new("1", SIZE, 1), WHITE),
        (Image.new("HSV", SIZE, (0, 255, 255)), (255, 0, 0)),
        (Image.new("CMYK", SIZE, (0, 0, 0, 0)), WHITE),
        (_array(30_000, np.uint16), (117, 117, 117)),
        (Image.new("I;16B", SIZE, 30_000), (117, 117, 117)),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else "",
)
def test_visible_colours_of_every_mode(image: Image.Image, colour: Any) -> None:
    before = image.tobytes()
    assert _colour(image) == colour
    assert image.tobytes() == before


@pytest.mark.parametrize("image", [_array(0.5, np.float32), _array(30_000, np.int32)])
def test_gray_without_a_range_is_refused_like_its_file(image: Image.Image) -> None:
    file = io.BytesIO()
    image.save(file, "TIFF")
    for source in (lambda: image_bytes(image), lambda: decode_image(file.getvalue())):
        with pytest.raises(ProtectionError, match="no defined range") as caught:
            source()
        assert caught.value.__context__ is None


def test_every_mode_that_pillow_makes_gives_pixels_or_a_protection_error() -> None:
    original = Image.open(io.BytesIO(PICTURE)).convert("RGB")
    for mode in Image.MODES:
        try:
            image = original.convert(mode)
        except ValueError:
            image = Image.new(mode, SIZE)
        try:
            decoded = decode_image(image_bytes(image))
        except ProtectionError:
            assert mode in ("I", "F")
        else:
            assert (decoded.mode, decoded.size) == ("RGB", SIZE)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("PNG", "1"), ("PNG", "L"), ("PNG", "LA"), ("PNG", "P"), ("PNG", "RGB"), ("PNG", "RGBA"),
        ("TIFF", "RGB"), ("TIFF", "CMYK"), ("TIFF", "LAB"), ("TIFF", "YCbCr"), ("BMP", "RGB"), ("GIF", "P"),
        ("JPEG", "L"), ("JPEG", "RGB"), ("JPEG", "CMYK"),
    ],
)  # fmt: skip
def test_a_picture_and_its_file_come_to_the_same_pixels(kind: str, mode: str) -> None:
    image = Image.open(io.BytesIO(PICTURE)).convert("RGB")
    image = Image.merge("LAB", image.split()) if mode == "LAB" else image.convert(mode)
    file = io.BytesIO()
    image.save(file, kind)
    opened = Image.open(file)
    if mode == "YCbCr":
        try:
            opened.load()
        except OSError:
            pytest.skip("this version of Pillow does not read its own file")
    assert decode_image(image_bytes(opened)).tobytes() == decode_image(file.getvalue()).tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("touch", [lambda image: image, Image.Image.copy, lambda image: image.convert("L")])
def test_an_orientation_in_exif_turns_the_picture_once(kind: str, touch: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.new("RGB", (80, 40), (200, 0, 0)).save(file, kind, exif=exif)
    data = image_bytes(touch(Image.open(file)))
    assert decode_image(data).size == (40, 80)
    assert not Image.open(io.BytesIO(data)).info


def test_the_profile_of_a_picture_is_applied_as_for_its_file() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    swapped = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    for embedded in (profile, swapped, b"no profile"):
        image = Image.open(io.BytesIO(PICTURE)).convert("RGB")
        image.info["icc_profile"] = embedded
        file = io.BytesIO()
        image.save(file, "PNG", icc_profile=embedded)
        decoded = decode_image(image_bytes(image))
        assert decoded.tobytes() == decode_image(file.getvalue()).tobytes()


def test_the_current_frame_of_an_animation_is_meant() -> None:
    frames = [Image.new("RGB", SIZE, colour) for colour in ("red", "lime")]
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    opened = Image.open(file)
    opened.seek(1)
    assert _colour(opened) == (0, 255, 0)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_loaded() -> None:
    file = io.BytesIO()
    Image.new("1", (4_000, 4_000)).save(file, "PNG")
    opened = Image.open(file)
    with pytest.raises(ProtectionError, match="more than 1,000,000 pixels"):
        image_bytes(opened, max_pixels=1_000_000)
    assert opened._im is None


class _Quoting(Image.Image):
    def load(self) -> Any:
        raise OSError(base64.b64encode(PICTURE).decode())


def _quoting() -> Image.Image:
    image = _Quoting()
    image._size = SIZE
    return image


def _cut_off() -> Image.Image:
    return Image.open(io.BytesIO(PICTURE[:-400]))


@pytest.mark.parametrize("make", [_quoting, _cut_off, Image.Image])
def test_a_picture_that_cannot_be_read_is_refused_without_content(make: Any) -> None:
    with pytest.raises(ProtectionError) as caught:
        image_bytes(make())
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    assert_no_leak(PICTURE, caught.value)


def test_threads_may_give_the_same_picture_before_it_is_loaded() -> None:
    data = noise_png(52, (300, 300))
    together = threading.Barrier(8)

    def give(image: Image.Image) -> bytes:
        together.wait()
        return image_bytes(image)

    with ThreadPoolExecutor(8) as threads:
        for _ in range(40):
            assert len(set(threads.map(give, [Image.open(io.BytesIO(data))] * 8))) == 1


def test_bytes_and_paths_are_taken_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(PICTURE)
    for source in (PICTURE, bytearray(PICTURE), memoryview(PICTURE), file, str(file)):
        assert image_bytes(source) == PICTURE


@pytest.mark.parametrize("source", [7, None, "/nowhere/secret.png", "a\0b", [1, 2]])
def test_what_is_no_picture_is_refused_without_its_path(source: Any) -> None:
    with pytest.raises(ProtectionError) as caught:
        image_bytes(source)
    assert caught.value.__context__ is None
    assert "secret" not in str(caught.value)
