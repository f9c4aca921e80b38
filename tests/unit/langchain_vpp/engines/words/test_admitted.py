"""The engine of a learned admission: what it shows of each kind, at each level and for each question."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from langchain_vpp.engines.words import Words, admitted
from langchain_vpp.engines.words.admitted import AdmittedKinds
from langchain_vpp.engines.words.kinds import KINDS, covering, kinds_of
from langchain_vpp.engines.words.recognizers import FormRecognizer
from langchain_vpp.engines.words.tokens import TokenNumbers
from langchain_vpp.engines.words.verdict import SHOWN, Verdict
from tests.unit.langchain_vpp.engines.words.made import FakeReader, words_of

SIZE = (800, 360)
LINES = ("thank you for the letter", "from Anna Meyer", "Total $240.00", "on 03/11/2026", "zorbflex 12:30")
STEPS = ((0.25, {"words", "names", "amounts"}), (0.5, {"words", "amounts"}), (0.75, {"words"}))


def page():
    image, words = Image.new("RGB", SIZE, "white"), words_of(*LINES)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    for word in words:
        draw.text((word.box[0], word.box[1] + 2), word.text, fill="black", font=font)
    return image, words


def engine(steps=STEPS, **options):
    _, words = page()
    reader = FakeReader(words, SIZE)
    return AdmittedKinds(steps, reader=reader, recognizers=[FormRecognizer()], **options)


def shown_words(result):
    """Words whose first letters are in a picture as in the original."""
    image, words = page()
    found = set()
    for word in words:
        left, top, right, bottom = map(round, word.box)
        box = (left, top, min(right, left + 20), bottom)
        if np.array_equal(np.asarray(image.crop(box)), np.asarray(result.crop(box))):
            found.add(word.text)
    return found


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (0.1, {"thank", "Anna", "Meyer", "$240.00"}),
        (0.5, {"thank", "$240.00"}),
        (0.6, {"thank"}),
        (0.9, set()),
        (1, set()),
    ],
)
def test_each_level_shows_its_kinds_and_covers_the_rest(level, expected):
    seen = shown_words(engine().protect(page()[0], level))
    assert seen & {"thank", "Anna", "Meyer", "$240.00", "03/11/2026", "zorbflex", "12:30"} == expected


def test_the_kind_of_each_word_is_told():
    _, words = page()
    layers = engine().look(page()[0])
    kinds = dict(zip([word.text for word in words], layers.kinds, strict=True))
    assert kinds["thank"] == "words"
    assert kinds["Anna"] == kinds["Meyer"] == "names"
    assert (kinds["$240.00"], kinds["03/11/2026"], kinds["12:30"]) == ("amounts", "dates", "numbers")
    assert kinds["zorbflex"] == "other"
    assert set(filter(None, layers.kinds)) <= set(KINDS)


def test_denied_words_and_kinds_of_your_own_recognizers_are_never_shown():
    words = words_of("thank you", "Bluebird")
    verdicts = [SHOWN, Verdict("TEXT", strong=True), Verdict("PROJECT", strong=True)]
    kinds = kinds_of(words, verdicts)
    assert kinds == ["words", None, None]
    covered = covering(verdicts, kinds, set(KINDS))
    assert [each.kind for each in covered] == ["", "TEXT", "PROJECT"]


def test_covered_harmless_words_get_tokens_that_say_what_they_are():
    verdicts, kinds = [SHOWN] * 4, ["words", "numbers", "amounts", "dates"]
    assert [each.kind for each in covering(verdicts, kinds, ())] == ["TEXT", "NUMBER", "AMOUNT", "DATE"]


def test_a_question_shows_no_more_than_it_needs():
    needs = {"What is the total?": ("words", "amounts"), "Whom is it from?": ("names",)}
    made = engine(needs=needs)
    assert made.answering("what's the total").shown_at(0) == {"words", "amounts"}
    assert made.answering("What is the total?", "Whom is it from?").shown_at(0) == {
        "words", "amounts", "names"}  # fmt: skip
    assert made.answering("Whom is it from?").shown_at(0.5) == frozenset()
    unknown = made.answering("How old is the sender?")
    assert unknown.shown_at(0) == {"words", "amounts", "names"}
    seen = shown_words(made.answering("What is the total?").protect(page()[0], 0))
    assert seen & {"thank", "Anna", "$240.00"} == {"thank", "$240.00"}


class Heads:
    """Finds no heads."""

    def __init__(self, *, is_thorough):
        self.is_thorough = is_thorough

    def __call__(self, image):
        return []


def test_faces_codes_and_the_background_are_shown_where_they_are_admitted(monkeypatch):
    image, _ = page()
    ImageDraw.Draw(image).ellipse((600, 100, 700, 200), fill="red", outline="black")
    monkeypatch.setattr(admitted, "find_codes", lambda _: [(600.0, 100.0, 700.0, 200.0)])
    spot = (630, 130, 670, 170)
    seen = {}
    for kinds in ((), ("codes",), ("background",), ("background", "codes")):
        made = engine()
        monkeypatch.setattr(made, "_find_heads", Heads(is_thorough=True))
        result = made.paint(image, made.look(image), kinds)
        seen[kinds] = np.array_equal(np.asarray(result.crop(spot)), np.asarray(image.crop(spot)))
        # Words are gone from the picture in full detail, too.
        assert shown_words(result) & {"thank", "Anna"} == set()
    assert seen == {(): False, ("codes",): True, ("background",): False, ("background", "codes"): True}


def test_without_a_detector_of_faces_the_background_is_never_shown(monkeypatch):
    image, _ = page()
    made = engine()
    monkeypatch.setattr(made, "_find_heads", Heads(is_thorough=False))
    layers = made.look(image)
    assert "background" not in made.kinds_in(layers)
    covered, asked = (made.paint(image, layers, kinds) for kinds in ((), ("background",)))
    assert covered.tobytes() == asked.tobytes()


def test_a_reader_that_fails_covers_the_picture():
    class Failing:
        def read(self, image):
            raise OSError

    made = AdmittedKinds(STEPS, reader=Failing(), recognizers=[])
    assert shown_words(made.protect(page()[0], 0)) == set()


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="there are no kinds nams; there are words, "):
        AdmittedKinds([(0.5, {"nams"})], recognizers=[], reader=FakeReader([], SIZE))


def test_no_draft_is_inherited():
    """Words shows other kinds than were learned, so what it drafts with must be this engine's own."""
    ways = {name for name, value in vars(Words).items() if callable(value) and not name.startswith("_")}
    assert ways - {"protect"} <= set(vars(AdmittedKinds))
    draft = engine().draft(page()[0], 0.5)
    assert shown_words(draft.finished(TokenNumbers())) & {"thank", "Anna"} == {"thank"}
    assert ("NAME", "Anna Meyer") in draft.values
