"""A look at a file before it is decoded: what is kept, what is refused, and what the look itself may cost."""

from __future__ import annotations

import contextlib
import io
import struct
import time
import zlib

import pytest
from PIL import ExifTags, Image

from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.bounds import Bounds
from langchain_vpp.images.codec import decode_image, decode_scaled
from langchain_vpp.images.pace import PIECE
from langchain_vpp.images.structure import exif_orientation, look_at
from tests.hostile_files import (
    HOSTILE,
    directory_bomb,
    flat_jpeg,
    gif_of_comments,
    gif_of_small_blocks,
    jpeg_of_scans,
    jpeg_of_segments,
    png,
    png_of_chunks,
)
from tests.unit.langchain_vpp.images.encoded import chunk, encode, noise
from tests.unit.marked_pictures import MARK, still_pictures

LOOKED_AT = {name: data for name, data in still_pictures().items() if look_at(data) is not None}


@pytest.mark.parametrize("name", LOOKED_AT)
def test_a_decoder_sees_pixels_and_no_metadata_and_gives_the_same_picture(name: str) -> None:
    structure = look_at(LOOKED_AT[name])
    assert structure is not None
    assert MARK in LOOKED_AT[name]
    assert MARK not in structure.pixel_file
    with (
        Image.open(io.BytesIO(structure.pixel_file)) as alone,
        Image.open(io.BytesIO(LOOKED_AT[name])) as whole,
    ):
        assert alone.size == structure.size
        assert alone.convert("RGBA").tobytes() == whole.convert("RGBA").tobytes()


def test_all_formats_that_are_decoded_here_are_looked_at() -> None:
    assert {name.partition(",")[0].split()[0] for name in LOOKED_AT} >= {"jpeg", "png", "gif", "webp"}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", [*range(10), 99])
def test_orientation_is_read_as_pillow_reads_it(order: str, orientation: int) -> None:
    exif = Image.Exif()
    exif.endian = order
    exif[ExifTags.Base.Make] = "x"
    exif[ExifTags.Base.Orientation] = orientation
    assert exif_orientation(exif.tobytes()) == (orientation if 1 <= orientation <= 8 else 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"II",
        b"Exif\0\0",
        b"II*\0\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08\xff\xff",
        directory_bomb(65_000, 9),
    ],
)
def test_exif_that_makes_no_sense_names_no_orientation(data: bytes) -> None:
    assert exif_orientation(data) == 1


def test_orientation_in_xmp_alone_is_applied() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    for kind in ("JPEG", "WEBP"):
        assert decode_image(encode(noise(32, 24), kind, xmp=xmp)).size == (24, 32)
    text = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    data = encode(noise(32, 24))
    assert decode_image(data[:33] + text + data[33:]).size == (24, 32)


# Refused or passed over at the first look, whatever their size: many parts, and metadata that unpack to much.
CHEAP = [name for name in HOSTILE if "64 MP" not in name and "250 MP" not in name and "scans" not in name] + [
    "jpeg, 10,000 scans", "png, 64 MP in pieces of a byte",
]  # fmt: skip
CHEAP = [name for name in CHEAP if not name.startswith(("tiff", "pdf", "bmp", "avif"))]


@pytest.mark.slow(seconds=0.05)
@pytest.mark.parametrize("name", CHEAP)
def test_files_of_many_parts_cost_next_to_nothing(name: str) -> None:
    data = HOSTILE[name]()
    started = time.process_time()
    with contextlib.suppress(ProtectionError):
        decode_scaled(data, lambda *_: (8, 8))
    assert time.process_time() - started < 0.8


@pytest.mark.parametrize(
    "make",
    [
        lambda n: jpeg_of_segments(n, 0xFE, b""),
        lambda n: png_of_chunks(n, b"tEXt", b"a\0b"),
        gif_of_small_blocks,
        gif_of_comments,
        lambda n: jpeg_of_scans(n, 64, progressive=False),
        lambda n: jpeg_of_scans(n, 64, progressive=True),
    ],
)
def test_no_more_parts_are_looked_at_than_any_encoder_writes(make) -> None:
    look_at(make(50))
    with pytest.raises(ProtectionError, match="corrupt"):
        look_at(make(400_000))


@pytest.mark.parametrize("shift", [-3, -2, -1, 0, 1])
def test_a_marker_is_found_wherever_a_search_in_pieces_ends(shift: int) -> None:
    whole = flat_jpeg(800)
    scan = whole.index(b"\xff\xda")
    body = whole[:-2].ljust(scan + 2 * PIECE - 1 + shift, b"\x8a")
    structure = look_at(body + b"\xff\xd9" + b"behind")
    assert structure is not None
    assert structure.pixel_file.endswith(b"\x8a\xff\xd9")
    assert b"behind" not in structure.pixel_file


@pytest.mark.parametrize("progressive", [False, True])
def test_the_bound_on_scans_is_exact(*, progressive: bool) -> None:
    look_at(jpeg_of_scans(100, 64, progressive=progressive))
    with pytest.raises(ProtectionError, match="corrupt"):
        look_at(jpeg_of_scans(101, 64, progressive=progressive))


def test_scans_count_against_the_pixels_of_a_request() -> None:
    class Counting(Bounds):
        spent = 0

        def spend(self, pixels: int) -> None:
            self.spent += pixels

    plain, many = Counting(), Counting()
    decode_scaled(encode(noise(160, 160), "JPEG", progressive=True), lambda *_: (16, 16), bounds=plain)
    decode_scaled(jpeg_of_scans(80, 160, progressive=True), lambda *_: (16, 16), bounds=many)
    assert many.spent > 5 * plain.spent


@pytest.mark.slow(seconds=0.29)
@pytest.mark.parametrize(
    "data",
    [png(8_000, 8, 6), png(8_000, 1, 0, interlaced=True), jpeg_of_scans(50, 8_000, progressive=False)],
    ids=["png", "png, interlaced", "jpeg, scans"],
)
def test_decoding_stops_when_the_time_is_up(data: bytes) -> None:
    started = time.process_time()
    with pytest.raises(ProtectionError, match="raise seconds"):
        decode_image(data, bounds=Bounds(seconds=0.02))
    # The whole of it takes about a second; what was under way may end.
    assert time.process_time() - started < 0.6


def test_a_jpeg_may_be_four_times_as_large_if_little_of_it_is_wanted() -> None:
    assert decode_scaled(flat_jpeg(2_000), lambda *_: (200, 200), max_pixels=1_000_000).image.size == (
        200,
        200,
    )
    for data, size in (
        (flat_jpeg(2_008), (200, 200)),
        (flat_jpeg(2_000), (1_500, 1_500)),
        (png(2_000, 1, 0), (9, 9)),
    ):
        with pytest.raises(ProtectionError, match="more than 1,000,000 pixels"):
            decode_scaled(data, lambda *_, size=size: size, max_pixels=1_000_000)


def test_a_bound_above_that_of_pillow_can_be_followed() -> None:
    data = flat_jpeg(14_400)  # 207 MP: above what Pillow takes for an attack
    assert decode_scaled(data, lambda *_: (450, 450)).original_size == (14_400, 14_400)
    assert decode_image(data, max_side=1_800, max_pixels=210_000_000).size == (1_800, 1_800)


def test_a_profile_that_unpacks_to_much_is_ignored() -> None:
    flood = b"icc\0\0" + zlib.compress(bytes(50_000_000), 9)
    structure = look_at(png(8, 8, 2, between=chunk(b"iCCP", flood)))
    assert structure is not None
    assert structure.profile is None


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_a_picture_without_pixels_is_refused(size: tuple[int, int]) -> None:
    data = bytearray(encode(noise(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, frame + 5, *size)
    with pytest.raises(ProtectionError, match="corrupt"):
        look_at(bytes(data))
