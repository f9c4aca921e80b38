"""Pictures that are kept, and pictures that are known again."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from langchain_vpp import ImageProtector
from langchain_vpp.engines import Blur, Pixelate
from tests.unit.langchain_vpp.guard.samples import OTHER, PICTURE, Counting, gradient, human, sent_pictures


def test_the_same_picture_at_the_same_level_is_computed_once() -> None:
    engine = Counting()
    protector = ImageProtector(engine, level=0.6)
    for _ in range(3):
        protector.protect_messages(human(PICTURE, PICTURE))
    assert engine.calls == [0.6]
    protector.protect_messages(human(PICTURE), level=0.7)
    assert engine.calls == [0.6, 0.7]


def test_the_memo_is_bounded_in_bytes() -> None:
    engine = Counting()
    size = len(sent_pictures(ImageProtector(engine).protect_messages(human(PICTURE)))[0])
    protector = ImageProtector(engine, memo_bytes=size + size // 2)
    engine.calls.clear()
    for picture in (PICTURE, OTHER, PICTURE):
        protector.protect_messages(human(picture))
    assert len(engine.calls) == 3


def test_what_the_protector_has_put_out_passes_unchanged() -> None:
    engine = Counting()
    protector = ImageProtector(engine, level=0.6, memo_bytes=0)
    once = protector.protect_messages(human(PICTURE))
    assert sent_pictures(protector.protect_messages(once)) == sent_pictures(once)
    assert sent_pictures(protector.protect_messages(once, level=0.6)) == sent_pictures(once)
    assert sent_pictures(protector.protect_messages(once, level=0.2)) == sent_pictures(once)
    assert len(engine.calls) == 1


def test_a_stronger_level_asked_for_by_name_protects_again() -> None:
    protector = ImageProtector(Pixelate(), level=0.3)
    once = protector.protect_messages(human(PICTURE))
    assert sent_pictures(protector.protect_messages(once, level=0.9)) != sent_pictures(once)


def test_what_was_put_out_at_a_weaker_level_is_protected_again() -> None:
    engine = Counting()
    protector = ImageProtector(engine, level=0.6, min_level=0.0)
    weak = protector.protect_messages(human(PICTURE), level=0.2)
    assert protector.protect_messages(weak, level=0.1) == weak
    # A request that names no level asks for the protector's own, whatever the floor is.
    for level in (None, 0.3):
        receipt = protector.admit(weak, level=level).receipt
        assert [sent.level for sent in receipt.images] == [0.6 if level is None else level]
    assert engine.calls == [0.2, 0.6, 0.3]
    # What is more private than a request asks for passes.
    strong = protector.protect_messages(human(PICTURE))
    assert [sent.level for sent in protector.admit(strong, level=0.2).receipt.images] == [0.6]


def test_another_protectors_output_is_protected_again() -> None:
    once = ImageProtector(Pixelate()).protect_messages(human(PICTURE))
    again = ImageProtector(Blur(), level=0.9).protect_messages(once)
    assert sent_pictures(again) != sent_pictures(once)


def test_threads_that_ask_for_the_same_picture_at_once_get_the_same_bytes() -> None:
    class Uneven:
        """Another result each time: only the memo can make callers agree."""

        def __init__(self) -> None:
            self.count = itertools.count()
            self.barrier = threading.Barrier(
                2, timeout=20
            )  # engines run in as many threads as there are CPUs

        def protect(self, image: Image.Image, level: float) -> Image.Image:
            self.barrier.wait()
            return Image.new("RGB", image.size, (next(self.count) * 60, 0, 0))

    protector = ImageProtector(Uneven())
    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(lambda _: sent_pictures(protector.protect_messages(human(PICTURE)))[0], range(2))
        )
    assert len(set(answers)) == 1


def test_many_small_pictures_count_with_what_remembering_them_takes() -> None:
    engine = Counting()
    protector = ImageProtector(engine, memo_bytes=20_000)
    pictures = [gradient(8 + number, 8) for number in range(100)]
    for data in pictures:
        protector.protect_messages(human(data))
    assert len(protector._pipeline._memo._entries) < 20
    assert 0 < protector._pipeline._memo._bytes <= 20_000
