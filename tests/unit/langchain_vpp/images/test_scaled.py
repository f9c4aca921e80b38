"""Pictures that are made smaller while they are decoded, and JPEGs of another size, with simplejpeg and without."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.codec import (
    decode_image,
    decode_scaled,
    encode_scaled,
)
from tests.unit.langchain_vpp.images.encoded import encode, near, noise


@pytest.fixture(params=["simplejpeg", "Pillow"])
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "Pillow":
        monkeypatch.setattr("langchain_vpp.images.fast.fast_module", lambda _: None)
    else:
        pytest.importorskip("simplejpeg")
    return str(request.param)


def halves(width: int, height: int, **modes: Any) -> Image.Image:
    """Red at the top, blue at the bottom."""
    image = Image.new("RGB", (width, height), (220, 40, 30))
    image.paste((20, 60, 210), (0, height // 2, width, height))
    return image.convert(**modes) if modes else image


def quarter(width: int, height: int) -> tuple[int, int]:
    return max(1, width // 4), max(1, height // 4)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_a_reduced_picture_is_the_picture_made_smaller(file_format: str, codec: str) -> None:
    data = encode(halves(160, 120), file_format)
    reduced = decode_scaled(data, quarter)
    assert (reduced.image.mode, reduced.image.size, reduced.image.info) == ("RGB", (40, 30), {})
    assert reduced.original_size == (160, 120)
    whole = decode_image(data).resize((40, 30), Image.Resampling.BOX)
    difference = np.abs(np.asarray(reduced.image, dtype=int) - np.asarray(whole, dtype=int))
    assert difference.mean() < 2


@pytest.mark.parametrize("eighths", range(1, 9))
def test_a_jpeg_is_decoded_at_any_eighth_that_gives_what_is_wanted(
    eighths: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("simplejpeg")
    smooth = noise(18, 14).resize((272, 216), Image.Resampling.BICUBIC)
    data = encode(smooth, "JPEG", quality=95)
    size = 34 * eighths, 27 * eighths
    expected = np.asarray(smooth.resize(size, Image.Resampling.BOX), dtype=int)
    monkeypatch.setattr(Image.Image, "resize", None)  # nothing is left to be scaled
    decoded = np.asarray(decode_scaled(data, lambda *_: size).image, dtype=int)
    assert np.abs(decoded - expected).mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_reduced_picture_is_upright_and_its_size_is_asked_for_upright(
    orientation: int, file_format: str, codec: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(halves(160, 80), file_format, exif=exif)
    asked = []

    def size(width: int, height: int) -> tuple[int, int]:
        asked.append((width, height))
        return quarter(width, height)

    reduced = decode_scaled(data, size)
    upright = decode_image(data)
    assert set(asked) == {upright.size}
    assert reduced.original_size == upright.size
    expected = np.asarray(upright.resize(quarter(*upright.size), Image.Resampling.BOX), dtype=int)
    assert np.abs(np.asarray(reduced.image, dtype=int) - expected).mean() < 4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_mode_is_reduced(mode: str, codec: str) -> None:
    file_format = "TIFF" if mode == "CMYK" else "PNG"
    data = encode(Image.new("L", (64, 64), 255).convert(mode) if mode != "I;16" else white_16(), file_format)
    reduced = decode_scaled(data, quarter).image
    assert (reduced.mode, reduced.size) == ("RGB", (16, 16))
    assert near(reduced.getpixel((8, 8)), (255, 255, 255), 2)


def white_16() -> Image.Image:
    return Image.fromarray(np.full((64, 64), 65_535, dtype=np.uint16))


def test_hidden_colours_do_not_bleed_into_a_reduced_picture(codec: str) -> None:
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 30, 64))
    assert np.asarray(decode_scaled(encode(image), quarter).image)[:, 8:].min() == 255


def test_a_colour_key_is_white_in_a_reduced_picture(codec: str) -> None:
    image = Image.new("RGB", (64, 64), (255, 0, 0))
    reduced = decode_scaled(encode(image, transparency=(255, 0, 0)), quarter).image
    assert near(reduced.getpixel((8, 8)), (255, 255, 255), 0)


def test_an_icc_profile_is_applied_to_a_reduced_picture(codec: str) -> None:
    swapped = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    profile = bytearray(swapped.tobytes())
    for channel, other in ((b"rXYZ", b"gXYZ"),):
        first, second = profile.index(channel), profile.index(other)
        profile[first : first + 4], profile[second : second + 4] = other, channel
    profile = bytearray(bytes(profile).replace(b"s\0R\0G\0B", b"x\0R\0G\0B"))
    data = encode(halves(64, 64), "JPEG", icc_profile=bytes(profile), quality=95, subsampling=0)
    whole = decode_image(data)
    assert not near(whole.getpixel((32, 8)), (220, 40, 30), 40)
    reduced = decode_scaled(data, quarter).image
    assert near(reduced.getpixel((8, 2)), whole.getpixel((32, 8)))


def test_gray_and_cmyk_jpegs_are_reduced_as_they_are_decoded(codec: str) -> None:
    for mode in ("L", "CMYK"):
        data = encode(halves(160, 120).convert(mode), "JPEG")
        whole = decode_image(data).resize((40, 30), Image.Resampling.BOX)
        reduced = decode_scaled(data, quarter).image
        assert np.abs(np.asarray(reduced, dtype=int) - np.asarray(whole, dtype=int)).mean() < 3


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF"])
def test_what_is_refused_whole_is_refused_reduced(file_format: str, codec: str) -> None:
    data = encode(noise(64, 48), file_format)
    for broken in (data[: len(data) // 2], data[:-3], b"", b"hello"):
        with pytest.raises(ProtectionError) as refusal:
            decode_scaled(broken, quarter)
        assert refusal.value.__context__ is None
    with pytest.raises(ProtectionError, match="more than 100 pixels"):
        decode_scaled(data, quarter, max_pixels=100)


def test_an_untidy_jpeg_is_still_decoded(codec: str) -> None:
    data = encode(halves(64, 48), "JPEG")
    scan = data.index(b"\xff\xda")
    untidy = data[:scan] + b"\0\0\0" + data[scan:]
    assert decode_image(untidy).size == (64, 48)
    assert decode_scaled(untidy, quarter).image.size == (16, 12)


@pytest.mark.parametrize("size", [(16, 12), (17, 13), (1, 1), (64, 48), (640, 480), (333, 1), (7, 900)])
def test_a_jpeg_of_another_size_shows_the_same_picture(size: tuple[int, int], codec: str) -> None:
    image = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
    encoded = encode_scaled(image, size)
    assert encoded == encode_scaled(image.copy(), size)
    assert b"\xff\xc0" in encoded
    decoded = decode_image(encoded)
    assert decoded.size == size
    expected = np.asarray(image.resize(size, Image.Resampling.BILINEAR), dtype=int)
    assert np.abs(np.asarray(decoded, dtype=int) - expected).mean() < 6


@pytest.mark.parametrize("width", [2, 7, 16, 17, 30, 101])
@pytest.mark.parametrize("height", [2, 13, 16, 18, 45])
def test_nothing_but_the_pixels_determines_a_jpeg(width: int, height: int, codec: str) -> None:
    image = noise(8, 8)
    encoded = set()
    for number in range(6):
        # Leaves other bytes behind in freed memory each time.
        for size in (100, 1_000, 10_000, 100_000):
            bytes([number]) * size
            np.full(size, number * 40, dtype=np.uint8)
        encoded.add(encode_scaled(image, (width, height)))
    assert len(encoded) == 1


def test_both_codecs_scale_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("simplejpeg")
    image = Image.effect_noise((48, 36), 90).convert("RGB").resize((96, 72), Image.Resampling.BICUBIC)
    fast = decode_image(encode_scaled(image, (700, 500)))
    monkeypatch.setattr("langchain_vpp.images.fast.fast_module", lambda _: None)
    slow = decode_image(encode_scaled(image, (700, 500)))
    assert np.abs(np.asarray(fast, dtype=int) - np.asarray(slow, dtype=int)).mean() < 1.5


def test_what_does_not_fit_jpeg_is_refused_at_any_size(codec: str) -> None:
    for image, size in (
        (Image.new("RGB", (8, 8)), (70_000, 1)),
        (Image.new("RGB", (8, 8)), (0, 8)),
        (Image.new("F", (8, 8)), (16, 16)),
    ):
        with pytest.raises(ProtectionError) as refusal:
            encode_scaled(image, size)
        assert refusal.value.__context__ is None
