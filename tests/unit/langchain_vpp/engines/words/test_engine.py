"""The engine of words: what leaves it, at each level, and when its reader fails."""

from __future__ import annotations

import base64
import io
import sys
import threading

import numpy as np
import pytest
from langchain_core.messages import HumanMessage
from PIL import Image, ImageDraw, ImageFont

from langchain_vpp import ImageProtector
from langchain_vpp.engines.words import Words, engine
from langchain_vpp.engines.words.painter import put_plates
from langchain_vpp.engines.words.plates import Plate
from langchain_vpp.engines.words.recognizers import FormRecognizer
from langchain_vpp.errors import MissingExtraError, ProtectionError
from tests.unit.langchain_vpp.engines.words.made import FakeReader, words_of

SIZE = (800, 300)
LINES = ("thank you for the letter", "from Anna Meyer", "Total $240.00")


def page(lines=LINES):
    """A page with lines of text, and its words where they stand."""
    image = Image.new("RGB", SIZE, "white")
    words = words_of(*lines)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    for word in words:
        draw.text((word.box[0], word.box[1] + 2), word.text, fill="black", font=font)
    return image, words


def protected(level, lines=LINES, **options):
    image, words = page(lines)
    made = Words(reader=FakeReader(words, SIZE), recognizers=[FormRecognizer()], **options)
    return image, words, made.protect(image, level)


def contrast(image, box):
    pixels = np.asarray(image.crop([round(edge) for edge in box]).convert("L"), dtype=int)
    return int(np.abs(np.diff(pixels, axis=1)).max())


@pytest.mark.slow(seconds=1)
def test_harmless_words_are_crisp_and_private_ones_are_gone():
    image, words, result = protected(0.5)
    assert (result.mode, result.size) == ("RGB", SIZE)
    for word in words[:5]:
        box = [round(edge) for edge in word.box]
        assert np.array_equal(np.asarray(image.crop(box)), np.asarray(result.crop(box)))
    plate = np.asarray(result.crop([round(edge) for edge in words[7].box]))
    assert (plate != np.asarray(image.crop([round(edge) for edge in words[7].box]))).any()


@pytest.mark.parametrize("size", [(1, 30), (4, 30), (30, 1), (120, 3), (90, 30)])
def test_a_plate_of_any_size_is_put_down(size):
    picture = Image.new("RGB", (200, 60), "black")
    put_plates(picture, [Plate((0, 0, *size), "NAME_1")])
    covered = np.asarray(picture.crop((0, 0, *size)))
    assert (covered == covered[0, 0]).all() == (size != (90, 30))


def test_a_token_stands_apart_from_the_edges_of_its_plate():
    picture = Image.new("RGB", (200, 60), "white")
    put_plates(picture, [Plate((20, 10, 110, 40), "NAME_1 IBAN_1")])
    columns = np.ptp(np.asarray(picture.convert("L"))[11:39, 20:110], axis=0)
    assert not columns[:3].any()
    assert not columns[-3:].any()
    assert columns.any()


@pytest.mark.parametrize("level", [0.0, 0.5, 0.75, 1.0])
def test_text_that_is_found_and_can_not_be_read_is_one_flat_colour(level):
    image, words = page()
    box = (40.0, 200.0, 240.0, 224.0)
    ImageDraw.Draw(image).text((44, 202), "Uchenna Olatunji", fill="black", font_size=18)
    engine = Words(reader=FakeReader([*words, words[0]._replace(text="", box=box)], SIZE), recognizers=[])
    with pytest.warns(UserWarning, match="can't be read"):
        result = engine.protect(image, level)
    covered = np.asarray(result.crop([round(edge) for edge in box]))
    assert np.ptp(covered[8:-8, 8:-8], axis=(0, 1)).max() <= 2


def test_the_picture_itself_is_not_changed():
    image, words = page()
    before = image.tobytes()
    Words(reader=FakeReader(words, SIZE), recognizers=[]).protect(image, 0.5)
    assert image.tobytes() == before


def test_level_1_shows_no_word():
    _, words, result = protected(1)
    _, _, blank = protected(1, lines=("a", "b"))
    assert contrast(result, (words[0].box[0], 75, 790, 290)) < 255
    assert all(not verdict for verdict in [np.array_equal(np.asarray(result), np.asarray(page()[0]))])
    assert blank.size == SIZE


def test_text_that_the_reader_misses_can_not_be_read():
    image, _ = page()
    result = Words(reader=FakeReader([], SIZE), recognizers=[]).protect(image, 0.5)
    assert contrast(result, (0, 0, *SIZE)) < 40 < contrast(image, (0, 0, *SIZE))


def test_large_text_that_only_the_second_look_finds_is_covered():
    image = Image.new("RGB", SIZE, "white")
    ImageDraw.Draw(image).text((50, 60), "ANNA", fill="black", font=ImageFont.load_default(160))

    class Late:
        def read(self, picture):
            if picture.size == SIZE:
                return []
            scale = picture.width / SIZE[0]
            return [
                word._replace(box=tuple(edge * scale for edge in (30, 60, 700, 260)))
                for word in words_of("ANNA")
            ]

    result = Words(reader=Late(), recognizers=[]).protect(image, 0.5)
    assert np.asarray(result.crop((100, 80, 400, 240))).std() < 3


def test_the_same_picture_gives_the_same_pixels():
    assert protected(0.5)[2].tobytes() == protected(0.5)[2].tobytes()


class Failing:
    def read(self, image):
        raise RuntimeError("secret text")


def test_a_reader_that_fails_shows_no_more_than_some_colours():
    image, _ = page()
    result = Words(reader=Failing(), recognizers=[]).protect(image, 0)
    assert contrast(result, (0, 0, *SIZE)) < 20


def test_a_reader_that_fails_can_refuse_the_picture_and_tells_nothing():
    made = Words(reader=Failing(), recognizers=[], on_failure="raise")
    with pytest.raises(ProtectionError) as raised:
        made.protect(page()[0], 0.5)
    assert raised.value.__cause__ is raised.value.__context__ is None
    assert "secret" not in str(raised.value)


def test_a_reader_that_takes_too_long_counts_as_one_that_fails():
    done = threading.Event()

    class Slow:
        def read(self, image):
            done.wait(10)
            return words_of(*LINES)

    result = Words(reader=Slow(), recognizers=[], seconds=0.05).protect(page()[0], 0.5)
    done.set()
    assert contrast(result, (0, 0, *SIZE)) < 20


def test_a_qr_code_is_covered():
    cv2 = pytest.importorskip("cv2")
    code = cv2.QRCodeEncoder.create().encode("https://example.com/private")
    image = Image.new("RGB", (900, 700), "white")
    image.paste(Image.fromarray(code).convert("RGB").resize((400, 400), Image.Resampling.NEAREST), (200, 120))
    result = Words(reader=FakeReader([], (900, 700)), recognizers=[]).protect(image, 0.5)
    assert np.asarray(result.crop((210, 130, 590, 510))).std() < 3
    assert not cv2.QRCodeDetector().detectAndDecode(np.asarray(result))[0]


def test_text_in_a_script_without_a_vocabulary_is_covered_with_a_warning():
    with pytest.warns(UserWarning, match="script without a vocabulary"):
        protected(0.5, lines=("谢谢你的信",))


def test_options_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="on_failure"):
        Words(reader=Failing(), recognizers=[], on_failure="open")


def test_the_digest_stands_for_all_that_determines_the_output(monkeypatch):
    monkeypatch.setattr(engine, "RapidReader", Failing)
    monkeypatch.setattr(engine, "default_recognizers", tuple)
    assert Words().digest == Words().digest != Words(allow=["Acme"]).digest
    assert Words(reader=Failing()).digest is None


@pytest.mark.parametrize(("level", "expected"), [(None, 0.5), ("high", 0.75), ("low", 0.25), (1, 1)])
def test_screens_is_loaded_by_name_with_its_presets(monkeypatch, level, expected):
    monkeypatch.setattr(engine, "RapidReader", Failing)
    monkeypatch.setattr(engine, "default_recognizers", tuple)
    protector = ImageProtector.from_pretrained("screens", level=level)
    assert f"level={expected}" in repr(protector)
    assert protector.protect_image(page()[0]).size == SIZE


def test_a_picture_that_was_protected_before_is_not_read_again(monkeypatch):
    read = []

    class Counting:
        def read(self, image):
            read.append(image.size)
            return []

    monkeypatch.setattr(engine, "RapidReader", Counting)
    monkeypatch.setattr(engine, "default_recognizers", tuple)
    protector = ImageProtector.from_pretrained("screens")
    data = io.BytesIO()
    page()[0].save(data, "PNG")
    url = "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
    messages = [HumanMessage([{"type": "image_url", "image_url": {"url": url}}])]
    first = protector.protect_messages(messages)
    assert len(read) == 2  # the picture, and its small copy
    assert protector.protect_messages(messages) == first
    assert len(read) == 2


def test_a_preset_that_does_not_exist_is_refused(monkeypatch):
    monkeypatch.setattr(engine, "RapidReader", Failing)
    monkeypatch.setattr(engine, "default_recognizers", tuple)
    with pytest.raises(ValueError, match="low, balanced, high"):
        ImageProtector.from_pretrained("screens", level="medium")


def test_a_missing_extra_is_one_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(MissingExtraError, match=r"langchain-vpp\[words\]"):
        ImageProtector.from_pretrained("screens")


class Tokens:
    def token(self, kind, value):
        return f"{kind}_{len(value)}"


def test_a_draft_tells_its_values_and_takes_tokens_later():
    image, words = page(("Name: Anna Meyer", "IBAN: DE89 3704", "thank you", "Name: Anna Meyer"))
    draft = Words(reader=FakeReader(words, SIZE), recognizers=[FormRecognizer()]).draft(image, 0.5)
    assert draft.values == [("NAME", "Anna Meyer"), ("IBAN", "DE89 3704"), ("NAME", "Anna Meyer")]
    once, again, other = (
        draft.finished(Tokens()),
        draft.finished(Tokens()),
        draft.finished(engine.TokenNumbers()),
    )
    assert once.tobytes() == again.tobytes() != other.tobytes()
    assert (
        other.tobytes()
        == protected(0.5, ("Name: Anna Meyer", "IBAN: DE89 3704", "thank you", "Name: Anna Meyer"))[
            2
        ].tobytes()
    )
    assert "Anna" not in repr(draft)


def test_a_draft_of_a_picture_that_was_not_read_has_no_values():
    draft = Words(reader=Failing(), recognizers=[]).draft(page()[0], 0.5)
    assert draft.values == []
    assert draft.finished(Tokens()).size == SIZE


def test_printed_words_hide_what_was_misread_and_show_nothing():
    image, words = page(("thank you for March",))
    truth = words_of("Name: x y March")
    made = Words(reader=FakeReader(words, SIZE), recognizers=[FormRecognizer()])
    assert made.draft(image, 0.5).values == []
    assert made.draft(image, 0.5, printed=truth).values
    image, words = page(("Name: Anna Meyer",))
    made = Words(reader=FakeReader(words, SIZE), recognizers=[FormRecognizer()])
    lie = words_of("thank you all")
    assert (
        made.draft(image, 0.5, printed=lie).values
        == made.draft(image, 0.5).values
        == [("NAME", "Anna Meyer")]
    )
