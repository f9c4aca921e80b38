"""Frames of videos: at even distances, upright, and nothing else of the file."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

pytest.importorskip("av")

from langchain_vpp.errors import MissingExtraError, ProtectionError
from langchain_vpp.images.bounds import Bounds
from langchain_vpp.images.video import sample_video, video_format
from tests.films import film, gray_film, sound


def numbers(data: bytes, **options) -> list[int]:
    """Return the numbers of the frames that were taken from a gray film."""
    return [round(np.asarray(each.image).mean() / 4) for each in sample_video(data, **options)]


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("mp4", "libx264"),
        ("mov", "libx264"),
        ("matroska", "libx264"),
        ("webm", "libvpx"),
        ("avi", "mpeg4"),
        ("mpegts", "libx264"),
    ],
)
def test_there_is_a_frame_for_each_second(container: str, codec: str) -> None:
    taken = numbers(gray_film(35, container=container, codec=codec))
    assert len(taken) in (3, 4)
    assert np.abs(np.diff(taken) - 9.5).max() <= 1.5
    assert taken[0] <= 1


def test_a_longer_video_is_sampled_over_its_whole_length() -> None:
    assert numbers(gray_film(60, rate=10), most_frames=3) == pytest.approx([0, 20, 40], abs=1)


def test_frames_far_apart_are_key_frames_and_none_comes_twice() -> None:
    data = gray_film(60, rate=1, options={"g": "20"})
    assert numbers(data, most_frames=20) == pytest.approx([0, 20, 40], abs=1)
    assert numbers(data, most_frames=3) == pytest.approx([0, 20, 40], abs=1)


def test_a_frame_is_decoded_at_the_size_that_is_wanted() -> None:
    (frame,) = sample_video(gray_film(1, (64, 48)), lambda width, height: (width // 2, height // 2))
    assert (frame.size, frame.image.size, frame.image.mode) == ((64, 48), (32, 24), "RGB")
    assert frame.image.info == {}


def turned(data: bytes) -> bytes:
    """Return a film whose header says that it is to be turned by a quarter."""
    one = (0x10000).to_bytes(4, "big")
    minus_one = (0x100000000 - 0x10000).to_bytes(4, "big")
    zero = bytes(4)
    plain = one + zero * 3 + one
    start = data.index(plain, data.index(b"tkhd"))
    return data[:start] + zero + one + zero + minus_one + zero + data[start + len(plain) :]


def test_a_frame_is_turned_as_its_film_says() -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32] = 255  # upper left
    (frame,) = sample_video(turned(film([picture])))
    assert frame.size == frame.image.size == (48, 64)
    corners = np.asarray(frame.image.resize((2, 2))).mean(axis=2) > 128
    assert corners.tolist() == [[False, True], [False, False]]  # clockwise


def test_what_is_transparent_is_white_and_not_what_lies_beneath() -> None:
    picture = np.zeros((48, 64, 4), np.uint8)
    picture[..., 0] = 200  # red, and not to be seen
    (frame,) = sample_video(film([picture], container="mov", codec="png", layout="rgba"))
    assert frame.image.getextrema() == ((255, 255),) * 3


def refusal(data: bytes, **bounds) -> str:
    with pytest.raises(ProtectionError) as caught:
        sample_video(data, bounds=Bounds(**bounds))
    assert caught.value.__cause__ is caught.value.__context__ is None
    return str(caught.value)


@pytest.mark.parametrize("make", [lambda: b"", lambda: b"secret" * 50, lambda: gray_film()[:400]])
def test_what_is_no_video_is_refused(make) -> None:
    said = refusal(make())
    assert "damaged" in said
    assert "secret" not in said


def test_a_playlist_is_no_video_and_opens_no_file(tmp_path) -> None:
    (tmp_path / "film.mp4").write_bytes(gray_film())
    playlist = f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/film.mp4\n#EXT-X-ENDLIST\n".encode()
    for text in (playlist, f"ffconcat version 1.0\nfile {tmp_path}/film.mp4\n".encode()):
        assert "damaged" in refusal(text)


def test_sound_alone_is_refused() -> None:
    assert "no pictures" in refusal(sound())


def test_a_frame_with_too_many_pixels_is_refused() -> None:
    assert "more than 3,000 pixels" in refusal(gray_film(), max_pixels=3_000)


def test_time_is_bounded() -> None:
    assert "more than 0 seconds" in refusal(gray_film(), seconds=0)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"langchain-vpp\[video\]"):
        sample_video(gray_film())


def test_pictures_that_begin_like_videos_are_none() -> None:
    for brand in (b"avif", b"heic", b"mif1"):
        assert video_format(b"\0\0\0\x20ftyp" + brand + bytes(40)) is None
    assert video_format(b"\0\0\0\x20ftypisom" + b"\0\0\2\0isomavif" + bytes(40)) is None
    assert video_format(b"\0\0\0\x20ftypisom" + bytes(40)) == "mov"
    assert video_format(b"\xff\xd8\xff" + bytes(400)) is None


def test_a_duration_that_is_a_lie_costs_nothing() -> None:
    data = bytearray(gray_film(30))
    for box in (b"mvhd", b"mdhd", b"tkhd"):
        place = data.index(box) + 4
        if data[place] == 0:
            offset = {b"mvhd": 16, b"mdhd": 16, b"tkhd": 20}[box]
            data[place + offset : place + offset + 4] = (0x7FFFFFFF).to_bytes(4, "big")
    taken = sample_video(bytes(data))
    assert 1 <= len(taken) <= 32
    assert math.prod(taken[0].size) == 64 * 48
