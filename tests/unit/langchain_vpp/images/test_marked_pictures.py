"""Every kind of picture through the entry that messages take: pixels come out and nothing else, or a clear refusal."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
import traceback
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from langchain_core.messages import HumanMessage
from PIL import ExifTags, Image

from langchain_vpp import ImageProtector, ProtectionError
from langchain_vpp.engines import Pixelate
from langchain_vpp.images.codec import decode_image
from tests.unit.marked_pictures import (
    MARK,
    SIZE,
    bombs,
    check_output,
    encoded,
    jpeg,
    jpeg_bomb,
    moving_pictures,
    noise,
    png_bomb,
    still_pictures,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

STILL = still_pictures()
MOVING = moving_pictures()
REFUSAL = re.compile(
    r"\AThe picture was not protected: [^:]+\. (Send a JPEG|Send the one|Make it smaller|Scale it)[^:]*\."
    r"|\AThe picture was not protected: HEIC needs pillow-heif \(extra heic\); [^:]+ or send a JPEG\.\Z"
)


def protected(data: bytes) -> bytes:
    """What is sent for a file."""
    protector = ImageProtector(Pixelate(), level=0.2)
    block = {"type": "image", "base64": base64.b64encode(data).decode(), "mime_type": "image/jpeg"}
    (message,) = protector.protect_messages([HumanMessage([block])])
    (sent,) = message.content
    assert (sent["type"], sent["mime_type"]) == ("image", "image/jpeg")
    return base64.b64decode(sent["base64"])


def check_refusal(data: bytes, reason: str = "") -> None:
    """Check that nothing is sent, that the error says what to do, and that it carries nothing of the file."""
    with pytest.raises(ProtectionError) as refused:
        protected(data)
    error = refused.value
    assert REFUSAL.match(str(error)), str(error)
    assert reason in str(error)
    assert (error.__cause__, error.__context__) == (None, None)
    assert MARK.decode() not in "".join(traceback.format_exception(error)) + repr(error.args)


@pytest.fixture
def heif_opener():
    """HEIC with its extra: the opener is registered with Pillow, and unregistered again."""
    pillow_heif = pytest.importorskip("pillow_heif")
    registries = (Image.OPEN, Image.MIME, Image.EXTENSION, Image.SAVE)
    saved = [dict(registry) for registry in registries]
    identifiers = list(Image.ID)
    pillow_heif.register_heif_opener()
    yield
    for registry, before in zip(registries, saved, strict=True):
        registry.clear()
        registry.update(before)
    Image.ID[:] = identifiers


def heic() -> bytes:
    """A HEIC with EXIF and XMP."""
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = MARK.decode()
    pillow_heif.from_pillow(noise(size=(64, 64))).save(file, exif=exif.tobytes(), xmp=MARK)
    return file.getvalue()


@pytest.mark.parametrize("name", STILL)
def test_of_a_still_picture_nothing_but_pixels_is_sent(name: str) -> None:
    assert MARK in STILL[name]
    assert check_output(protected(STILL[name])).size == SIZE


@pytest.mark.parametrize("name", ["png, alpha", "webp, lossless alpha"])
def test_pixels_that_nobody_sees_are_not_sent(name: str) -> None:
    assert np.asarray(check_output(protected(STILL[name]))).min() == 255


@pytest.mark.parametrize("name", MOVING)
def test_several_frames_are_refused(name: str) -> None:
    assert MARK in MOVING[name]
    check_refusal(MOVING[name], "several frames")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "AVIF"])
def test_orientation_is_applied_and_its_exif_is_gone(orientation: int, file_format: str) -> None:
    # The only dark quarter stands at the top left once the picture is upright.
    stored = Image.new("L", (64, 32), 255)
    left, top = orientation in (1, 4, 5, 6), orientation in (1, 2, 5, 8)
    stored.paste(0, (0 if left else 32, 0 if top else 16, 32 if left else 64, 16 if top else 32))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = jpeg(stored, orientation=orientation)
    if file_format == "AVIF":
        data = encoded(stored.convert("RGB"), "AVIF", exif=exif, speed=10)
    upright = check_output(protected(data))
    assert upright.size == ((64, 32) if orientation < 5 else (32, 64))
    quarters = upright.convert("L").resize((2, 2), Image.Resampling.BOX)
    assert [quarters.getpixel((x, y)) < 128 for y in (0, 1) for x in (0, 1)] == [True, False, False, False]


@pytest.mark.slow(seconds=0.01)
@pytest.mark.parametrize("tenth", range(1, 10))
@pytest.mark.parametrize("name", STILL)
def test_of_a_file_that_is_cut_off_nothing_is_sent_but_whole_pictures(name: str, tenth: int) -> None:
    data = STILL[name]
    cut = data[: len(data) * tenth // 10]
    try:
        sent = protected(cut)
    except ProtectionError:
        sent = None
    if sent is None:
        check_refusal(cut, "cut off")
    else:
        # Only what stands behind the pixels was missing.
        assert sent == protected(data)
        check_output(sent)


@pytest.mark.slow(seconds=0.02)
@pytest.mark.parametrize("tenth", range(1, 10))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_a_photograph_that_is_cut_off_is_refused(file_format: str, tenth: int) -> None:
    data = encoded(noise(size=(200, 150)), file_format)
    check_output(protected(data))
    check_refusal(data[: len(data) * tenth // 10], "cut off")


def test_heic_without_its_extra_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # Another test of the same process, or a library that it loaded, may have registered an opener.
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.setattr(Image, "ID", [each for each in Image.ID if each != "HEIF"])
    check_refusal(heic(), "register_heif_opener")


@pytest.mark.usefixtures("heif_opener")
def test_of_a_heic_nothing_but_pixels_is_sent() -> None:
    data = heic()
    assert MARK in data
    assert check_output(protected(data)).size == (64, 64)
    for tenth in range(1, 10):
        check_refusal(data[: len(data) * tenth // 10])


@pytest.mark.slow(seconds=1)
def test_the_bombs_are_what_they_claim_to_be() -> None:
    whole = decode_image(jpeg_bomb(60))
    assert (whole.size, whole.getextrema()) == ((60, 60), ((128, 128),) * 3)
    assert decode_image(png_bomb(60)).size == (60, 60)
    with pytest.raises(Image.DecompressionBombError, match="268402689 pixels"):
        Image.open(io.BytesIO(bombs()["webp of 268 megapixels"]))
    assert len(zlib.decompress(bombs()["png with pixels of 200 MB"][41:-16])) == 200_000_000


MEASURE = """
import json, re, sys
from pathlib import Path
from PIL import Image
from langchain_vpp import ImageProtector, ProtectionError
from langchain_vpp.engines import Pixelate

def megabytes(name):
    return int(re.search(name + r":\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

protector = ImageProtector(Pixelate())
results = []
for path in sys.argv[1:]:
    data = Path(path).read_bytes()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    before = megabytes("VmRSS")
    try:
        protector.protect_image(data)
        answer = "protected"
    except ProtectionError as error:
        answer = str(error)
    results.append([answer, megabytes("VmHWM") - before])
print(json.dumps(results))
"""


def measured(folder: Path, files: list[bytes]) -> list[tuple[str, float]]:
    """What becomes of files in a process of their own, and how many MB each takes for a time."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux tells a process its peak and forgets it again")
    paths = []
    for number, data in enumerate(files):
        paths.append(folder / f"{number}.picture")
        paths[-1].write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURE, *map(str, paths)],
        capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return [(answer, growth) for answer, growth in json.loads(done.stdout)]


@pytest.mark.slow(seconds=1)
def test_bombs_take_no_memory(tmp_path: Path) -> None:
    warm = encoded(noise(), "PNG")
    big = encoded(Image.new("RGB", (4000, 2000)), "PNG")  # shows that growth is seen: 24 MB and copies of it
    results = measured(tmp_path, [warm, *bombs().values(), big])
    assert results[-1][0] == "protected"
    assert results[-1][1] > 24
    for name, (answer, growth) in zip(bombs(), results[1:-1], strict=True):
        assert growth < 20, name
        if "megapixels" in name:
            assert "more than 64,000,000 pixels" in answer
        else:
            assert answer == "protected"  # it says 8 x 8, and neither more pixels nor metadata are inflated
        assert answer == "protected" or REFUSAL.match(answer)


@pytest.mark.slow
def test_the_largest_picture_that_is_allowed_takes_bounded_memory(tmp_path: Path) -> None:
    files = [encoded(noise(), "PNG"), png_bomb(8_000), jpeg_bomb(8_000)]
    for answer, growth in measured(tmp_path, files):
        assert answer == "protected"
        assert growth < 640  # ten bytes per pixel
