"""Pages of a PDF are drawn; what is no readable PDF is refused."""

from __future__ import annotations

import io
import sys
import threading

import pytest
from PIL import Image, ImageDraw

from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.isolated import IsolatedError
from langchain_vpp.images.pdf import _words, rasterize_pdf, read_pdf
from tests.digital_pdf import digital_pdf

pytest.importorskip("pypdfium2")


def pdf(pages: int = 1, size: tuple[int, int] = (400, 200)) -> bytes:
    drawn = []
    for number in range(pages):
        page = Image.new("RGB", size, "white")
        ImageDraw.Draw(page).rectangle((0, 0, size[0] // 2, size[1]), fill=(250 - 60 * number, 0, 0))
        drawn.append(page)
    file = io.BytesIO()
    drawn[0].save(file, "PDF", save_all=True, append_images=drawn[1:], title="secret title")
    return file.getvalue()


def refusal_of(data: bytes, **options: int) -> str:
    with pytest.raises(ProtectionError) as refusal:
        rasterize_pdf(data, **options)
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None
    assert "secret" not in str(refusal.value)
    return str(refusal.value)


def test_each_page_is_drawn_in_order_without_metadata() -> None:
    pages = rasterize_pdf(pdf(3), dpi=72)
    assert [page.size for page in pages] == [(400, 200)] * 3
    assert [(page.mode, page.info) for page in pages] == [("RGB", {})] * 3
    for number, page in enumerate(pages):
        red, green, blue = page.getpixel((100, 100))
        assert abs(red - (250 - 60 * number)) < 12
        assert max(green, blue) < 12
        assert min(page.getpixel((300, 100))) > 240


def test_size_follows_dpi_within_max_side() -> None:
    assert rasterize_pdf(pdf(), dpi=144)[0].size == (800, 400)
    assert rasterize_pdf(pdf(), dpi=144, max_side=300)[0].size == (300, 150)
    assert max(rasterize_pdf(pdf(size=(3000, 20)))[0].size) <= 1_568


def test_a_document_with_too_many_pages_is_refused_not_cut() -> None:
    assert len(rasterize_pdf(pdf(3), max_pages=3)) == 3
    assert "more than 2" in refusal_of(pdf(3), max_pages=2)


@pytest.mark.parametrize(
    "data",
    [b"", b"%PDF-1.7\n", b"secret", pdf()[:200], b"%PDF-1.7\n" + b"secret\xff" * 400],
    ids=["empty", "header only", "no PDF", "cut off", "junk"],
)
def test_what_is_no_readable_pdf_is_refused(data: bytes) -> None:
    assert "damaged" in refusal_of(data)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    assert "langchain-vpp[documents]" in refusal_of(pdf())


def test_many_threads_draw_their_own_documents() -> None:
    results: dict[int, tuple[int, int]] = {}

    def draw(number: int) -> None:
        results[number] = rasterize_pdf(pdf(2, (100 + number, 50)), dpi=72)[1].size

    threads = [threading.Thread(target=draw, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: (100 + number, 50) for number in range(12)}


def test_the_words_of_a_digital_page_come_with_their_places() -> None:
    text = [("Dear Anna", 30, 100, True), ("IBAN", 30, 60, True), ("hidden", 200, 60, False)]
    first, second = read_pdf(digital_pdf(text, [("two", 30, 100, True)]))
    assert [(word.text, word.line) for word in first.words][:2] == [("Dear", 0), ("Anna", 0)]
    assert {word.text for word in first.words} == {"Dear", "Anna", "IBAN", "hidden"}
    assert [word.text for word in second.words] == ["two"]
    pixels = first.image.convert("L")
    for word in first.words:
        left, top, right, bottom = word.box
        assert 0 <= left < right <= pixels.width
        assert 0 <= top < bottom <= pixels.height
        darkest, _ = pixels.crop((int(left), int(top), int(right) + 1, int(bottom) + 1)).getextrema()
        assert (darkest < 128) == (word.text != "hidden")


def test_a_page_without_text_has_no_words() -> None:
    assert read_pdf(pdf())[0].words == ()


def test_what_is_no_list_of_words_is_not_believed() -> None:
    for said in (b"[1]", b"{}x", b'[["a", 1, 2]]', b'[["a", 1, 2, "x", 4, 5]]', b"\xff"):
        with pytest.raises(IsolatedError):
            _words(said)
