"""Decoding and encoding: what a picture looks like afterwards, what is refused, and what never survives."""

from __future__ import annotations

import io
import os
import random
import struct
import threading
import tracemalloc
import warnings
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image, ImageCms, ImageDraw, ImageFile, PngImagePlugin

from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.codec import (
    ENCODED_MIME_TYPE,
    decode_image,
    decode_scaled,
    encode_image,
)
from tests.unit.langchain_vpp.images.encoded import chunk, encode, near, noise, refusal_of


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "JPEG", "WEBP", "GIF", "AVIF"])
def test_every_format_is_decoded_to_plain_rgb(file_format: str) -> None:
    flat = Image.new("RGB", (40, 30), (200, 100, 50))
    decoded = decode_image(encode(flat, file_format))
    assert (decoded.mode, decoded.size, decoded.info) == ("RGB", (40, 30), {})
    assert type(decoded) is Image.Image
    assert near(decoded.getpixel((20, 15)), (200, 100, 50))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("max_side", [None, 20])
def test_orientation_is_applied(orientation: int, file_format: str, max_side: int | None) -> None:
    # The upright picture: red in the top left quarter, blue in the bottom left one.
    upright = Image.new("RGB", (96, 64), "white")
    ImageDraw.Draw(upright).rectangle((0, 0, 47, 31), fill=(255, 0, 0))
    ImageDraw.Draw(upright).rectangle((0, 32, 47, 63), fill=(0, 0, 255))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {"quality": 95} if file_format in ("JPEG", "WEBP") else {}
    decoded = decode_image(encode(stored, file_format, exif=exif, **options), max_side=max_side)
    width, height = decoded.size
    assert width / height == 1.5
    assert near(decoded.getpixel((width // 8, height // 8)), (255, 0, 0), 40)
    assert near(decoded.getpixel((width // 8, height * 7 // 8)), (0, 0, 255), 40)
    assert near(decoded.getpixel((width * 7 // 8, height // 2)), (255, 255, 255), 40)


def test_pixels_hidden_under_transparency_become_white() -> None:
    hidden = Image.new("RGBA", (3, 1), (255, 0, 0, 0))
    hidden.putpixel((1, 0), (255, 0, 0, 255))
    hidden.putpixel((2, 0), (0, 0, 0, 128))
    for file_format in ("PNG", "WEBP", "TIFF"):
        options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
        decoded = decode_image(encode(hidden, file_format, **options))
        assert [decoded.getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), (255, 0, 0)]
        assert near(decoded.getpixel((2, 0)), (127, 127, 127), 2)


def test_palettes_gray_and_colour_keys_with_transparency() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((1, 0), 1)
    assert decode_image(encode(palette)).getpixel((1, 0)) == (0, 255, 0)
    assert decode_image(encode(palette, transparency=0)).getpixel((0, 0)) == (255, 255, 255)
    assert decode_image(encode(palette, transparency=bytes([0, 255]))).getpixel((1, 0)) == (0, 255, 0)
    assert decode_image(encode(palette, "GIF", transparency=0)).getpixel((0, 0)) == (255, 255, 255)
    gray = Image.new("L", (2, 1), 10)
    gray.putpixel((1, 0), 20)
    keyed = decode_image(encode(gray, transparency=10))
    assert [keyed.getpixel((x, 0)) for x in range(2)] == [(255,) * 3, (20,) * 3]
    rgb = decode_image(encode(Image.new("RGB", (1, 1), (1, 2, 3)), transparency=(1, 2, 3)))
    assert rgb.getpixel((0, 0)) == (255, 255, 255)
    assert decode_image(encode(Image.new("LA", (1, 1), (0, 0)))).getpixel((0, 0)) == (255, 255, 255)
    assert decode_image(encode(Image.new("1", (1, 1), 1))).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(("file_format", "mode"), [("PNG", "I;16"), ("TIFF", "I;16"), ("TIFF", "I;16B")])
def test_deep_gray_is_scaled_not_saturated(file_format: str, mode: str) -> None:
    deep = Image.new(mode, (4, 1))
    for x, value in enumerate((0, 257, 32_896, 65_535)):
        deep.putpixel((x, 0), value)
    decoded = decode_image(encode(deep, file_format))
    assert [decoded.getpixel((x, 0))[0] for x in range(4)] == [0, 1, 128, 255]


def test_the_transparent_value_of_deep_gray_becomes_white() -> None:
    header = struct.pack(">IIBBBBB", 2, 1, 16, 0, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"tRNS", struct.pack(">H", 1000))
        + chunk(b"IDAT", zlib.compress(b"\0" + struct.pack(">HH", 1000, 1028)))
        + chunk(b"IEND", b"")
    )
    decoded = decode_image(png)
    assert [decoded.getpixel((x, 0))[0] for x in range(2)] == [255, 4]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_gray_without_a_defined_range_is_refused(mode: str) -> None:
    assert "32-bit gray" in refusal_of(encode(Image.new(mode, (2, 2)), "TIFF"))


def test_cmyk_looks_as_it_should() -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    for file_format in ("JPEG", "TIFF"):
        assert near(decode_image(encode(cyan, file_format)).getpixel((8, 8)), (0, 255, 255))


def test_an_icc_profile_is_applied_and_gone() -> None:
    # A profile with the channels swapped shows whether it was used: sRGB made from BRG primaries.
    swapped = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", swapped[128:132])[0]
    tags = {bytes(swapped[132 + 12 * n : 136 + 12 * n]): 132 + 12 * n for n in range(count)}
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    swapped[red : red + 4], swapped[green : green + 4] = b"gXYZ", b"rXYZ"
    profile = bytes(swapped).replace("sRGB".encode("utf-16-be"), "none".encode("utf-16-be"))
    picture = Image.new("RGB", (16, 16), (255, 0, 0))
    for file_format in ("PNG", "JPEG", "TIFF", "WEBP"):
        options = {"quality": 95} if file_format in ("JPEG", "WEBP") else {}
        decoded = decode_image(encode(picture, file_format, icc_profile=profile, **options))
        assert near(decoded.getpixel((8, 8)), (0, 255, 0), 25), file_format
        assert decoded.info == {}
    broken = decode_image(encode(picture, icc_profile=b"not a profile at all"))
    assert broken.getpixel((8, 8)) == (255, 0, 0)


SECRET = b"SECRET-OF-THE-OWNER"


def with_metadata(file_format: str) -> bytes:
    picture = noise()
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = SECRET.decode()
    exif[ExifTags.Base.ImageDescription] = SECRET.decode()
    options: dict[str, Any] = {"exif": exif}
    if file_format == "JPEG":
        options |= {"comment": SECRET, "icc_profile": SECRET * 20, "xmp": b"<x>" + SECRET + b"</x>"}
    if file_format == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", SECRET.decode())
        text.add_itxt("XML:com.adobe.xmp", SECRET.decode(), zip=False)
        options |= {"pnginfo": text, "icc_profile": SECRET * 20}
    if file_format == "WEBP":
        options |= {"xmp": SECRET, "icc_profile": SECRET * 20}
    return encode(picture, file_format, **options)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_no_metadata_survives(file_format: str) -> None:
    data = with_metadata(file_format)
    assert SECRET in data
    decoded = decode_image(data)
    assert decoded.info == {}
    assert not decoded.getexif()
    for saved in (encode_image(decoded), encode(decoded, "PNG"), encode(decoded, "JPEG")):
        assert SECRET not in saved
        assert not Image.open(io.BytesIO(saved)).getexif()
    assert set(Image.open(io.BytesIO(encode_image(decoded))).info) <= {
        "jfif",
        "jfif_version",
        "jfif_unit",
        "jfif_density",
    }


def test_encoding_drops_what_a_foreign_image_carries() -> None:
    opened = Image.open(io.BytesIO(with_metadata("JPEG")))
    opened.load()
    assert SECRET not in encode_image(opened)


def bomb(side: int) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1_000_000, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [20_000, 9_000, 65_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_from_its_header(side: int) -> None:
    data = bomb(side)
    tracemalloc.start()
    assert "more than 64,000,000 pixels" in refusal_of(data)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_the_bound_on_pixels_is_exact() -> None:
    data = encode(noise(32, 24))
    assert decode_image(data, max_pixels=32 * 24).size == (32, 24)
    assert "more than 767 pixels" in refusal_of(data, max_pixels=32 * 24 - 1)


def test_a_progressive_jpeg_with_thousands_of_scans_is_refused() -> None:
    data = encode(noise(), "JPEG", progressive=True)
    assert decode_image(data).size == (32, 24)
    last = data.rindex(b"\xff\xda")
    refusal_of(data[:-2] + data[last:-2] * 200 + data[-2:])


@pytest.mark.slow(seconds=1)
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF", "TIFF"])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_file_cut_off_anywhere_is_refused(file_format: str) -> None:
    data = encode(noise(), file_format)
    assert decode_image(data).size == (32, 24)
    decodable = [length for length in range(len(data)) if _decodes(data[:length])]
    # A GIF whose only frame is whole may miss the byte that ends the file: every viewer shows it.
    assert decodable == ([len(data) - 1] if file_format == "GIF" else [])


def _decodes(data: bytes) -> bool:
    try:
        decode_image(data)
    except ProtectionError:
        return False
    return True


@pytest.mark.slow(seconds=0.11)
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF", "TIFF"])
def test_damaged_files_are_decoded_or_refused_but_nothing_else_is_raised(file_format: str) -> None:
    generator = random.Random(2)
    data = encode(noise(), file_format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(150):
            damaged = bytearray(data)
            for _ in range(generator.randint(1, 6)):
                damaged[generator.randrange(len(data))] = generator.randrange(256)
            _decodes(bytes(damaged))


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"<svg/>"]
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    assert "unknown format" in refusal_of(data)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_several_frames_are_refused(file_format: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green", "blue")]
    data = encode(frames[0], file_format, save_all=True, append_images=frames[1:])
    assert "several frames" in refusal_of(data)


def camera_file(kind: int = 0) -> bytes:
    """A JPEG of a camera: the picture, and behind it another one of the kind that the multi-picture index names."""
    picture = Image.new("RGB", (96, 64), (200, 30, 30))
    data = bytearray(encode(picture, "MPO", save_all=True, append_images=[picture.resize((48, 32))]))
    index = data.index(b"MPF\0") + 4
    first = data.index(b"\0\0\3\0", index + 12)  # attribute of the main picture; the other's is 16 bytes on
    struct.pack_into("<I", data, first + 16, kind << 16)
    return bytes(data)


@pytest.mark.parametrize("kind", [0, 1])
def test_the_first_picture_of_a_camera_file_is_meant_and_others_are_its_previews(kind: int) -> None:
    data = camera_file(kind)
    assert decode_image(data).size == (96, 64)
    preview_cut_off = data[: data.rindex(b"\xff\xd8\xff")]
    assert decode_image(preview_cut_off).size == (96, 64)


def test_views_of_equal_rank_in_a_camera_file_are_several_frames() -> None:
    assert "several frames" in refusal_of(camera_file(2))


@pytest.mark.parametrize("tail", [b"\n", b"\0" * 9, b"<!-- -->", b"GIF89a"])
def test_bytes_behind_a_whole_gif_are_passed_over(tail: bytes) -> None:
    data = encode(noise(), "GIF")
    assert decode_image(data + tail).tobytes() == decode_image(data).tobytes()
    assert decode_image(data[:-1] + tail).tobytes() == decode_image(data).tobytes()


def test_a_large_jpeg_of_a_telephone_is_decoded_at_the_size_that_is_needed() -> None:
    data = encode(Image.new("L", (12_000, 9_000), 99), "JPEG")
    assert decode_scaled(data, lambda *_: (384, 288)).original_size == (12_000, 9_000)
    assert decode_image(data, max_side=1_500).size == (1_500, 1_125)
    refusal = refusal_of(data)
    assert "raise max_pixels" in refusal
    assert "RequestBudget" in refusal


def test_heic_is_refused_with_the_way_out_unless_an_opener_is_registered() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (64, 64), (200, 100, 50))).save(file)
    data = file.getvalue()
    if "HEIF" not in Image.OPEN:
        assert "pillow-heif" in refusal_of(data)
    saved = (dict(Image.OPEN), list(Image.ID), dict(Image.MIME), dict(Image.EXTENSION))
    try:
        pillow_heif.register_heif_opener()
        assert near(decode_image(data).getpixel((32, 32)), (200, 100, 50))
    finally:
        for registry, before in zip(
            (Image.OPEN, Image.MIME, Image.EXTENSION), (saved[0], *saved[2:]), strict=True
        ):
            registry.clear()
            registry.update(before)
        Image.ID[:] = saved[1]


@pytest.mark.parametrize("size", [(4000, 3000), (3001, 17), (640, 480), (100, 100)])
@pytest.mark.parametrize("max_side", [1, 384, 512, 4000])
def test_scaled_decoding_is_never_below_what_is_needed(size: tuple[int, int], max_side: int) -> None:
    data = encode(Image.new("RGB", size, (200, 100, 50)), "JPEG")
    decoded = decode_image(data, max_side=max_side)
    assert max(decoded.size) >= min(max_side, max(size))
    assert max(decoded.size) <= max(size)
    assert near(decoded.getpixel((0, 0)), (200, 100, 50))
    if max(size) >= 8 * max_side:
        assert max(decoded.size) == -(-max(size) // 8)


def test_encoding_is_deterministic_baseline_jpeg() -> None:
    picture = noise(64, 48)
    first = encode_image(picture)
    assert first == encode_image(picture.copy())
    assert ENCODED_MIME_TYPE == "image/jpeg"
    assert b"\xff\xc0" in first
    assert b"\xff\xc2" not in first
    assert len(encode_image(picture, quality=30)) < len(first)
    assert decode_image(first).size == (64, 48)


def test_encoding_flattens_every_mode() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert near(decode_image(encode_image(clear)).getpixel((4, 4)), (255, 255, 255))
    for mode in ("L", "P", "LA", "CMYK", "1", "I;16"):
        assert decode_image(encode_image(Image.new(mode, (8, 8)))).size == (8, 8)


@pytest.mark.parametrize(
    "image", [Image.new("RGB", (0, 5)), Image.new("RGB", (70_000, 1)), Image.new("F", (2, 2))]
)
def test_what_does_not_fit_jpeg_is_refused(image: Image.Image) -> None:
    with pytest.raises(ProtectionError) as refusal:
        encode_image(image)
    assert refusal.value.__context__ is None


def test_threads_and_global_settings_do_not_interfere() -> None:
    before = (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS)
    results: dict[int, Any] = {}

    def work(number: int) -> None:
        colour = (number * 7, 255 - number * 7, 100)
        data = encode(Image.new("RGB", (200, 200 + number), colour), "JPEG", quality=95)
        for _ in range(5):
            decoded = decode_image(encode_image(decode_image(data, max_side=100)))
            assert not _decodes(data[: len(data) // 2])
            results[number] = decoded.size, near(decoded.getpixel((50, 50)), colour, 20)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: ((100, -(-(200 + number) // 2)), True) for number in range(16)}
    assert before == (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS)


def test_the_same_bytes_come_out_with_and_without_files_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.effect_noise((700, 500), 40).convert("RGB")
    expected = io.BytesIO()
    picture.save(expected, "JPEG", quality=85)
    assert encode_image(picture) == expected.getvalue()

    def refuse(name: str) -> int:
        raise OSError

    monkeypatch.setattr(os, "memfd_create", refuse, raising=False)
    assert encode_image(picture) == expected.getvalue()
    monkeypatch.delattr(os, "memfd_create")
    assert encode_image(picture) == expected.getvalue()


def test_no_file_stays_open_after_encoding() -> None:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("no list of open files")
    before = len(list(folder.iterdir()))
    for _ in range(20):
        encode_image(Image.new("RGB", (8, 8)))
        with pytest.raises(ProtectionError):
            encode_image(Image.new("F", (8, 8)))
    assert len(list(folder.iterdir())) <= before
