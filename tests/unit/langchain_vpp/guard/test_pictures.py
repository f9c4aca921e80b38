"""Single pictures: input, engine, sizes."""

from __future__ import annotations

import base64
import io
import threading
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from langchain_vpp import ImageProtector, ProtectionError
from langchain_vpp.engines import Blur, Pixelate
from langchain_vpp.testing import assert_no_leak

if TYPE_CHECKING:
    from pathlib import Path
from tests.unit.langchain_vpp.guard.samples import PICTURE, Returning, Seeing, gradient, human, sent_pictures


def _raise(image: Image.Image) -> Any:
    raise RuntimeError(base64.b64encode(PICTURE).decode())


def test_an_engine_needs_protect() -> None:
    with pytest.raises(TypeError, match="protect"):
        ImageProtector(lambda image: image)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make",
    [
        lambda image: image,
        lambda image: None,
        lambda image: image.tobytes(),
        lambda image: image.convert("L"),
        lambda image: image.resize((3, 3)),
        _raise,
    ],
)
def test_an_engine_that_misbehaves_stops_the_request_without_content(make: Any) -> None:
    protector = ImageProtector(Returning(make))
    for call in (
        lambda: protector.protect_messages(human(PICTURE)),
        lambda: protector.protect_image(PICTURE),
    ):
        with pytest.raises(ProtectionError) as caught:
            call()
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert_no_leak(PICTURE, caught.value)


def test_an_engine_cannot_smuggle_metadata() -> None:
    def with_metadata(image: Image.Image) -> Image.Image:
        result = image.resize((2, 2)).resize(image.size)
        result.info["comment"] = PICTURE
        return result

    protector = ImageProtector(Returning(with_metadata))
    assert protector.protect_image(PICTURE).info == {}
    assert_no_leak(PICTURE, protector.protect_messages(human(PICTURE)))


def test_protect_image_takes_pictures_bytes_and_paths(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(PICTURE)
    protector = ImageProtector(Pixelate(), level=0.7, min_level=0.0)
    results = [
        protector.protect_image(source)
        for source in (PICTURE, file, str(file), Image.open(file), bytearray(PICTURE))
    ]
    assert {(result.mode, result.size) for result in results} == {("RGB", (24, 24))}
    assert len({result.tobytes() for result in results}) == 1
    assert protector.protect_image(PICTURE, 0.0).tobytes() != results[0].tobytes()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_protect_image_takes_every_mode(mode: str) -> None:
    picture = Image.open(io.BytesIO(PICTURE)).convert("RGB").convert(mode)
    assert ImageProtector(Pixelate()).protect_image(picture).mode == "RGB"


def test_protect_image_turns_upright_and_drops_metadata() -> None:
    picture = Image.new("RGB", (8, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    picture.save(file, "JPEG", exif=exif, comment=b"secret")
    for source in (file.getvalue(), Image.open(file)):
        result = ImageProtector(Blur(), level=0.0).protect_image(source)
        assert result.size == (16, 8)
        assert result.info == {}
        assert not result.getexif()


@pytest.mark.parametrize("source", [b"no picture", "/nowhere/at/all.png", 7, None])
def test_protect_image_refuses_what_is_no_picture(source: Any) -> None:
    with pytest.raises(ProtectionError) as caught:
        ImageProtector(Pixelate()).protect_image(source)
    assert caught.value.__context__ is None
    assert "nowhere" not in str(caught.value)


@pytest.mark.parametrize(
    ("output_size", "expected"),
    [
        ("same", (1600, 1200)),
        ("fit", (1024, 768)),
        (800, (800, 600)),
        ((900, 300), (400, 300)),
        (5000, (1600, 1200)),
    ],
)
@pytest.mark.parametrize("resolution", [None, 64])
def test_pictures_leave_at_the_size_that_was_chosen(
    output_size: Any, expected: tuple[int, int], resolution: int | None
) -> None:
    engine = Seeing(resolution)
    protector = ImageProtector(engine, output_size=output_size)
    data = gradient(1600, 1200)
    sent = sent_pictures(protector.protect_messages(human(data)))[0]
    assert Image.open(io.BytesIO(sent)).size == expected
    assert protector.protect_image(data).size == expected
    assert protector.protect_encoded(data) == sent
    assert set(engine.sizes) == {(64, 48) if resolution else expected}


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("resolution", [None, 64])
def test_a_size_is_that_of_the_upright_picture(orientation: int, resolution: int | None) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    protector = ImageProtector(Seeing(resolution), output_size=(200, 1000))
    size = protector.protect_image(gradient(400, 100, exif=exif)).size
    assert size == ((200, 50) if orientation == 1 else (100, 400))


def test_an_engine_that_sees_little_lets_no_detail_through() -> None:
    stripes = Image.new("L", (512, 512))
    stripes.putdata([255 * (x % 2) for _ in range(512) for x in range(512)])
    shown = ImageProtector(Seeing(64)).protect_image(stripes.convert("RGB"))
    low, high = shown.convert("L").getextrema()
    assert isinstance(low, int)
    assert isinstance(high, int)
    assert 120 <= low <= high <= 135


@pytest.mark.parametrize(
    "output_size", ["large", 0, -1, 1.5, True, (1, 2, 3), (0, 5), (1, 70_000), [5, 5], None, ()]
)
def test_a_size_that_is_none_is_refused(output_size: Any) -> None:
    with pytest.raises(ValueError, match="output_size"):
        ImageProtector(Pixelate(), output_size=output_size)


class _Meeting(Seeing):
    """Protects only when two pictures are in work at once."""

    def __init__(self) -> None:
        super().__init__()
        self.barrier = threading.Barrier(2, timeout=20)

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        self.barrier.wait()
        return super().protect(image, level)


def test_the_pictures_of_a_request_are_protected_side_by_side() -> None:
    pictures = [gradient(40 + number, 30) for number in range(4)]
    sent = sent_pictures(ImageProtector(_Meeting()).protect_messages(human(*pictures)))
    assert [Image.open(io.BytesIO(each)).width for each in sent] == [40, 41, 42, 43]


def test_one_picture_of_several_that_fails_stops_the_request_without_content() -> None:
    class Failing(Seeing):
        def protect(self, image: Image.Image, level: float) -> Image.Image:
            return _raise(image) if image.width == 42 else super().protect(image, level)

    pictures = [gradient(40 + number, 30) for number in range(4)]
    with pytest.raises(ProtectionError) as caught:
        ImageProtector(Failing()).protect_messages(human(*pictures))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert_no_leak(PICTURE, caught.value)
