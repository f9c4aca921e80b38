"""What is counted when readers look at protected pictures, with readers of given words."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from trainer.attackers.words.readers import Seen
from trainer.data.annotated import AnnotatedPicture, OtherWord, PrivateText
from trainer.evaluation.word_attacks import AimedAttack, PageAttack
from trainer.evaluation.words import evaluate_words, protections_of
from trainer.reporting.words import word_tables

FONT = ImageFont.load_default(20)
PAGE = {"letter": (40, 20), "from": (40, 80), "Uchenna": (110, 80), "today": (240, 80), "total": (40, 140)}
BOXES = {text: (x, y, x + FONT.getlength(text), y + 26) for text, (x, y) in PAGE.items()}


def visible(picture):
    """Say whether there is ink in a box."""
    return lambda box: np.asarray(picture.convert("L").crop([round(edge) for edge in box])).std() > 20


def reader(picture):
    """A reader that knows all words, and sees those that have not vanished; in strips and views it sees nothing."""
    if picture.size != (400, 200):
        return []
    shown = visible(picture)
    return [Seen(text, box) for text, box in BOXES.items() if shown(box)]


@pytest.fixture
def pictures(tmp_path):
    found = []
    for number, (kind, taken) in enumerate((("chat", "screen"), ("letter", "scan"))):
        picture = Image.new("RGB", (400, 200), "white")
        draw = ImageDraw.Draw(picture)
        for text, place in PAGE.items():
            draw.text(place, text, fill="black", font=FONT)
        picture.save(tmp_path / f"{number}.png")
        private = (PrivateText("private_person", "Uchenna", (BOXES["Uchenna"],)),)
        found.append(AnnotatedPicture(tmp_path / f"{number}.png", kind, taken, private))
    return found


def covering(*texts):
    def protect(image):
        result = image.copy()
        for text in texts:
            ImageDraw.Draw(result).rectangle(BOXES[text], fill="grey")
        return result

    return protect


def test_leaks_and_kept_words_are_counted_by_level_and_kind(pictures):
    protections = {"open": lambda image: image, "half": covering("Uchenna", "today"), "shut": covering(*PAGE)}
    report = evaluate_words("made", pictures, protections, PageAttack({"given": reader}))
    found = {each.level: each.figures for each in report.levels}
    assert (report.pictures, report.readable.count, report.readers) == (2, 2, ("given",))
    assert [found[level].clean.value for level in found] == [0, 1, 1]
    assert [found[level].leaked.count for level in found] == [2, 0, 0]
    assert [found[level].kept.count for level in found] == [8, 6, 0]
    assert [found[level].over_covered.count for level in found] == [0, 2, 4]
    assert set(report.levels[1].by_picture) == {"chat", "letter"}
    assert set(report.levels[1].by_way) == {"screen", "scan"}
    assert report.levels[0].by_attempt["given, as it is"].count == 2
    assert found["half"].kept.low < 0.75 < found["half"].kept.high


def test_a_text_that_only_one_view_shows_leaks(pictures):
    def sharp(picture):
        """Sees the name in an enlarged strip alone."""
        known = reader(picture)
        return known or ([Seen("Uchenna", (150, 40, 300, 100))] if picture.height > 150 else [])

    report = evaluate_words("made", pictures, {"half": covering("Uchenna")}, PageAttack({"given": sharp}))
    assert report.levels[0].figures.leaked.count == 2
    assert set(report.levels[0].by_attempt) == {"given, enlarged"}


def test_pictures_without_private_text_say_nothing_of_leaks(pictures):
    bare = [each._replace(private=()) for each in pictures]
    report = evaluate_words("made", bare, {"open": lambda image: image}, PageAttack({"given": reader}))
    figures = report.levels[0].figures
    assert (figures.clean.of, figures.leaked.of, figures.kept.of) == (0, 0, 10)
    assert report.levels[0].match is None


def test_tables_show_intervals_and_what_was_not_measured(pictures):
    bare = pictures[0]._replace(private=())
    protections = {"half": covering("Uchenna"), "shut": covering(*PAGE)}
    report = evaluate_words("made", [pictures[1], bare], protections, PageAttack({"given": reader}))
    main, texts, attempts = word_tables(report)
    rows = {row.cells[0].text: [cell.line for cell in row.cells[1:]] for row in main.rows}
    assert rows["letter"][0].endswith("of 1") or rows["letter"][0] == "100.0% [20.7, 100.0] of 1"
    assert rows["chat"][0] == "-"
    assert [row.cells[0].text for row in texts.rows] == ["private_person"]
    assert list(attempts.rows) == []


class Failing:
    """An attack that must not be asked."""

    name, readers = "page", ("given",)

    def measure(self, image, picture, protected):
        raise AssertionError("a picture was measured twice")


def test_a_run_that_ended_early_goes_on(pictures, tmp_path):
    protections, log = {"half": covering("Uchenna", "today")}, tmp_path / "log.jsonl"
    first = evaluate_words("made", pictures[:1], protections, PageAttack({"given": reader}), log=log)
    with log.open("a") as file:
        file.write('{"key": "cut o')
    assert evaluate_words("made", pictures[:1], protections, Failing(), log=log) == first
    whole = evaluate_words("made", pictures, protections, PageAttack({"given": reader}), log=log)
    assert whole.levels == evaluate_words("made", pictures, protections, PageAttack({"given": reader})).levels
    with pytest.raises(AssertionError, match="twice"):
        evaluate_words("made", pictures[:1], {"other": covering()}, Failing(), log=log)
    with pytest.raises(AssertionError, match="twice"):
        evaluate_words("made", [pictures[0]._replace(private=())], protections, Failing(), log=log)


def test_an_aimed_attack_reads_the_places_and_counts_the_words_of_the_annotations(pictures):
    words = tuple(OtherWord(text, BOXES[text]) for text in ("letter", "from", "today", "total"))
    noted = [each._replace(words=words) for each in pictures]

    def read(lines):
        """Sees a name wherever there is ink."""
        return ["Uchenna" if np.asarray(line.convert("L")).min() < 60 else "" for line in lines]

    protections = {"open": lambda image: image, "half": covering("Uchenna", "from", "today")}
    report = evaluate_words("made", noted, protections, AimedAttack({"tesseract": read}))
    found = {each.level: each.figures for each in report.levels}
    assert (report.attack, report.readable.count) == ("aimed", 2)
    assert [found[level].leaked.count for level in found] == [2, 0]
    assert [found[level].kept.count for level in found] == [8, 4]
    assert [found[level].over_covered.count for level in found] == [0, 4]


def test_a_picture_is_read_once_for_all_levels(monkeypatch):
    read = []

    class Counting:
        def read(self, image):
            read.append(image.size)
            return []

    monkeypatch.setattr("langchain_vpp.engines.words.RapidReader", Counting)
    monkeypatch.setattr("langchain_vpp.engines.words.engine.default_recognizers", tuple)
    picture = Image.new("RGB", (300, 100), "white")
    for protect in protections_of("screens", ["low", "balanced", "high"]).values():
        assert protect(picture).size == picture.size
    assert len(read) == 2  # the picture, and its small copy


def test_a_level_that_does_not_exist_is_refused(monkeypatch):
    monkeypatch.setattr("langchain_vpp.engines.words.RapidReader", lambda: None)
    monkeypatch.setattr("langchain_vpp.engines.words.engine.default_recognizers", tuple)
    with pytest.raises(ValueError, match="level"):
        protections_of("screens", ["medium"])
