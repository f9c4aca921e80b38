"""Decoding in another process: it is ended in time, keeps within its memory, and the next file finds a good one."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
import time

import pytest
from PIL import Image

from langchain_vpp.errors import ProtectionError
from langchain_vpp.images import isolated
from langchain_vpp.images.bounds import Bounds
from langchain_vpp.images.codec import decode_image, decode_scaled
from langchain_vpp.images.pdf import rasterize_pdf
from tests.hostile_files import pdf_of_nested_forms, tiff, tiff_of_shared_values, tiff_that_names_itself
from tests.unit.langchain_vpp.images.encoded import encode, near, noise, refusal_of

BMP = encode(Image.new("RGB", (40, 30), (200, 100, 50)), "BMP")


@pytest.mark.slow(seconds=0.48)
def test_a_document_that_draws_for_minutes_is_ended() -> None:
    pytest.importorskip("pypdfium2")
    decode_image(BMP)  # so that a process is there
    started = time.perf_counter()
    with pytest.raises(ProtectionError, match="raise seconds") as refused:
        rasterize_pdf(pdf_of_nested_forms(), bounds=Bounds(seconds=0.5))
    assert time.perf_counter() - started < 5
    assert (refused.value.__cause__, refused.value.__context__) == (None, None)
    assert near(decode_image(BMP).getpixel((9, 9)), (200, 100, 50))


def test_one_file_does_not_keep_a_process_for_the_whole_time_of_a_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("pypdfium2")
    monkeypatch.setattr(isolated, "_MOST_SECONDS", 0.5)
    with pytest.raises(ProtectionError, match="too long, or too much memory"):
        rasterize_pdf(pdf_of_nested_forms())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is bounded where the system can")
def test_a_file_that_asks_for_too_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "_BASE_MEMORY", 0)
    data = encode(Image.new("RGB", (2_000, 2_000)), "BMP")
    refusal_of(data, bounds=Bounds(max_pixels=4_000_000))
    monkeypatch.undo()
    assert decode_image(data, bounds=Bounds(max_pixels=4_000_000)).size == (2_000, 2_000)


@pytest.mark.parametrize(
    "data",
    [
        tiff_that_names_itself(),
        tiff_of_shared_values(300, 1_000_000),
        tiff([]),
        b"II*\0",
        b"BM",
        b"\0\0\0\x18ftypheic",
    ],
    ids=["its own next", "shared values", "empty", "a signature", "BM", "heic"],
)
def test_other_hostile_files_are_refused_or_decoded_within_seconds(data: bytes) -> None:
    started = time.perf_counter()
    with contextlib.suppress(ProtectionError):
        decode_image(data, bounds=Bounds(seconds=10))
    assert time.perf_counter() - started < 10


def test_a_process_that_dies_is_replaced() -> None:
    decode_image(BMP)
    for process in isolated._PROCESSES._idle:
        process._child.kill()
        process._child.wait()
    while isolated._PROCESSES._idle:
        refusal_of(BMP)
    assert decode_image(BMP).size == (40, 30)


def test_processes_are_reused_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    real = isolated._Process.__init__

    def count(self: isolated._Process) -> None:
        started.append(1)
        real(self)

    monkeypatch.setattr(isolated._Process, "__init__", count)
    results: list[tuple[int, int]] = []

    def work(number: int) -> None:
        results.extend(decode_image(encode(noise(30 + number, 20), "BMP")).size for _ in range(5))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted((30 + number, 20) for number in range(8) for _ in range(5))
    assert len(started) <= 64
    assert len(started) < len(results) / 2


def test_a_process_that_cannot_be_started_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "_PROCESSES", isolated._Processes())
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert "can't be started" in refusal_of(BMP)


def test_only_pixels_come_back_at_the_size_that_was_wanted() -> None:
    picture = decode_scaled(
        encode(noise(64, 48), "TIFF", description="secret"), lambda w, h: (w // 2, h // 2)
    )
    assert (picture.image.mode, picture.image.size, picture.image.info) == ("RGB", (32, 24), {})
    assert picture.original_size == (64, 48)


def test_what_is_no_message_is_refused() -> None:
    for data in (b"", b"\0" * 12, b"\xff" * 12, b"\5\0\0\0\0\0\0\0\0\0\0\0[1, 2"):
        with pytest.raises(isolated.IsolatedError):
            isolated.receive(io.BytesIO(data))
