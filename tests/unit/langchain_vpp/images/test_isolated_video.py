"""Clips that are damaged, locked, unusual or huge: each gives what it shows, or one clear refusal."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")

from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.bounds import Bounds
from langchain_vpp.images.video import decode_video, sample_video
from tests.films import film, gray_film

NOISE = [np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8) for seed in range(20)]
BOX = {"g": "5", "preset": "ultrafast"}


def shown(data: bytes) -> list[float]:
    """Return how bright each sampled frame is."""
    return [float(np.asarray(each.image).mean()) for each in sample_video(data)]


def refusal(data: bytes) -> str:
    with pytest.raises(ProtectionError) as caught:
        sample_video(data)
    assert caught.value.__cause__ is caught.value.__context__ is None
    return str(caught.value)


def test_a_file_cut_off_before_its_index_is_refused() -> None:
    data = film(NOISE, options=BOX)
    assert "damaged" in refusal(data[: len(data) // 2])


def test_a_stream_that_breaks_off_shows_the_frames_that_arrived() -> None:
    data = film(NOISE, options=BOX, container="mpegts")
    whole, half = (
        [second for _, second in decode_video(part, bounds=Bounds(seconds=60))]
        for part in (data, data[: len(data) // 2])
    )
    assert 0 < len(half) < len(whole) == len(NOISE)
    assert half == whole[: len(half)]


def test_damage_in_the_middle_gives_frames_or_a_refusal() -> None:
    clean = film(NOISE, options=BOX)
    for seed in range(4):
        data = bytearray(clean)
        for place in np.random.default_rng(seed).integers(200, len(data) - 2_000, 60):
            data[place] ^= 0xFF
        with contextlib.suppress(ProtectionError):
            assert {frame.image.size for frame in sample_video(bytes(data))} == {(64, 48)}


def test_frames_of_a_variable_rate_keep_their_times_and_are_sampled_by_them() -> None:
    times = [0.0, 0.04, 0.08, 0.5, 3.0, 3.02, 3.7, 8.0]
    data = film([np.full((48, 64, 3), 30 * number, np.uint8) for number in range(8)], times=times)
    assert [second for _, second in decode_video(data, bounds=Bounds(seconds=60))] == pytest.approx(times)
    assert shown(data) == pytest.approx([0, 120, 180, 210], abs=4)  # those of seconds 0, 3, 3.7 and 8


def test_a_file_without_frames_is_refused() -> None:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as written:
        stream = written.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        written.start_encoding()
    assert "damaged" in refusal(file.getvalue())


def test_four_hours_are_shown_by_frames_over_the_whole_length() -> None:
    frames = [np.full((48, 64, 3), 5 * number, np.uint8) for number in range(49)]
    taken = shown(film(frames, times=[300.0 * number for number in range(49)], options={"g": "1"}))
    assert len(taken) == 32
    assert np.diff(taken) == pytest.approx(5 * 49 / 32, abs=4)
    assert taken[-1] > 5 * 46


def test_8k_is_decoded_at_the_size_that_is_wanted() -> None:
    (frame,) = sample_video(_flat(7_680, 4_320), lambda *_: (768, 432))
    assert (frame.size, frame.image.size) == ((7_680, 4_320), (768, 432))


def _flat(width: int, height: int) -> bytes:
    """Return one gray frame, without arrays of its size."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mov") as written:
        stream = written.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
        frame = av.VideoFrame(width, height, "yuvj420p")
        for plane in frame.planes:
            plane.update(b"\x80" * plane.buffer_size)
        written.mux([*stream.encode(frame), *stream.encode()])
    return file.getvalue()


LIGHT = {"color_primaries": 9, "colorspace": 9}


def pq(light: float) -> float:
    """Return the signal in [0, 1] of a luminance in cd/m² (SMPTE ST 2084)."""
    power = (light / 10_000) ** 0.1593017578125
    return float(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)


def signal_film(value: float, transfer: int, **options: Any) -> bytes:
    pixels = np.full((48, 64, 3), round(255 * value), np.uint8)
    tags = {**LIGHT, "color_trc": transfer}
    return film([pixels], layout="yuv420p10le", colours=tags, **options)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (signal_film(pq(203), 16), 245),  # white paper
        (signal_film(pq(203 * 0.18), 16), 118),  # a gray card
        (signal_film(pq(4_000), 16), 255),  # a lamp
        (signal_film(0.75, 18), 245),
        (signal_film(0.0, 18), 0),
    ],
    ids=["white in PQ", "gray in PQ", "a lamp in PQ", "white in HLG", "black in HLG"],
)
def test_high_dynamic_range_looks_as_on_an_ordinary_screen(data: bytes, expected: int) -> None:
    assert shown(data) == pytest.approx([expected], abs=5)


def test_what_is_transparent_in_high_dynamic_range_is_white_too() -> None:
    pixels = np.zeros((48, 64, 4), np.uint8)
    tags = {**LIGHT, "color_trc": 16}
    options = {"container": "mov", "codec": "prores_ks", "layout": "yuva444p10le"}
    assert shown(film([pixels], colours=tags, **options)) == [255]


@pytest.mark.parametrize(("codec", "layout"), [("libx264", "yuv422p10le"), ("prores_ks", "yuv444p10le")])
def test_ten_bits_are_shown_as_eight(codec: str, layout: str) -> None:
    pixels = np.full((48, 64, 3), (200, 100, 50), np.uint8)
    (frame,) = sample_video(film([pixels], container="mov", codec=codec, layout=layout))
    assert np.asarray(frame.image).mean(axis=(0, 1)) == pytest.approx([200, 100, 50], abs=4)


def test_of_an_interlaced_frame_one_moment_is_shown() -> None:
    combs = np.zeros((48, 64, 3), np.uint8)
    combs[::2, :32] = combs[1::2, 32:] = 255  # light went from the left to the right between the two
    options = {"flags": "+ildct+ilme", "x264-params": "tff=1", "crf": "1"}
    (frame,) = sample_video(film([combs], options=options))
    pixels = np.asarray(frame.image)
    assert frame.image.size == (64, 48)
    assert pixels[:, :28].min() > 200
    assert pixels[:, 36:].max() < 55


def test_an_encrypted_file_is_refused() -> None:
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "76" * 16, "encryption_kid": "a7" * 16}
    assert "encrypted" in refusal(film(NOISE[:5], muxing=key))


def test_a_codec_that_is_missing_is_refused_with_advice() -> None:
    said = refusal(gray_film(5).replace(b"avc1", b"zzzz"))
    assert "a format that can't be read. Send an MP4 with H.264" in said
