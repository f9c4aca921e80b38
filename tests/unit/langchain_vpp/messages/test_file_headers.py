"""Every file that Pillow opens is known by its header; legal variations too."""

from __future__ import annotations

import io
import random

import pytest
from PIL import Image

from langchain_vpp.messages.file_headers import find_file_header, spells_text_picture

Image.init()
NOISE = random.Random(5).randbytes(3 * 24 * 20)
# They are no pictures without a file beside them, or Pillow can't open what it has written.
NOT_OPENED = {"PALM", "BUFR", "GRIB", "HDF5", "WMF", "MPO"}
FORMATS = sorted(set(Image.SAVE) & set(Image.OPEN) - NOT_OPENED)


@pytest.mark.slow(seconds=0.01)
@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_every_format_that_pillow_writes_and_opens_is_known(file_format: str, mode: str) -> None:
    file = io.BytesIO()
    try:
        Image.frombytes("RGB", (24, 20), NOISE).convert(mode).save(file, file_format)
        Image.open(io.BytesIO(file.getvalue()))
    except Exception:  # noqa: BLE001
        pytest.skip("not in this mode")
    if (file_format, mode) == ("TGA", "1"):
        pytest.xfail("a header of small numbers, as any list of them may begin: it counts by its volume")
    data = file.getvalue()
    assert find_file_header(data) == 0 or spells_text_picture(data.decode("latin-1"))


def encoded(file_format: str) -> bytes:
    file = io.BytesIO()
    Image.frombytes("RGB", (24, 20), NOISE).save(file, file_format)
    return file.getvalue()


JPEG, GIF, BMP, TIFF = (encoded(file_format) for file_format in ("JPEG", "GIF", "BMP", "TIFF"))
VARIED = {
    "JPEG with fill bytes": JPEG[:2] + b"\xff\xff\xff" + JPEG[2:],
    "JPEG with zeros to skip": JPEG[:2] + b"\xff\x00" + JPEG[2:],
    "JPEG that begins with a profile": JPEG[:2] + b"\xff\xe2\x00\x06ICC_" + JPEG[2:],
    "JPEG that begins with a comment": JPEG[:2] + b"\xff\xfe\x00\x04Hi" + JPEG[2:],
    "GIF with an odd aspect": GIF[:12] + b"\x77" + GIF[13:],
    "GIF of printable size": GIF[:6] + b"AAAA" + GIF[10:],
    "BMP with reserved bytes": BMP[:6] + b"abcd" + BMP[10:],
    "DIB": BMP[14:],
    "TIFF as Pillow also reads it": b"II\x00\x2a" + TIFF[4:],
}


@pytest.mark.parametrize("data", VARIED.values(), ids=VARIED)
def test_legal_variations_of_headers_are_known(data: bytes) -> None:
    assert find_file_header(data) == 0
    assert find_file_header(b"junk" * 5 + data) == 20


def test_random_bytes_and_lists_of_small_numbers_are_no_files() -> None:
    chance = random.Random(12)
    assert not any(find_file_header(chance.randbytes(1_500)) is not None for _ in range(400))
    for most in (2, 4, 12, 30):
        for _ in range(100):
            assert find_file_header(bytes(chance.randrange(most) for _ in range(300))) is None
