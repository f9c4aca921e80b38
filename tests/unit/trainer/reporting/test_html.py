"""The page: its figures are the report's, hostile text stays text, and a browser has nothing to load."""

from __future__ import annotations

import base64
import hashlib
import re
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from langchain_vpp.errors import TrainingError
from langchain_vpp.images.codec import encode_image
from tests.made_reports import HOSTILE, estimate, full_report, hostile_report, point, reading, report
from trainer.evaluation.results import Reading, Report
from trainer.reporting.html import render_html, save_html
from trainer.reporting.pictures import PictureRow
from trainer.statistics import ConfidenceInterval  # noqa: TC001  pydantic reads it

PRESETS = {"low": 0.0, "balanced": 0.5, "high": 1.0}
# Elements and attributes through which a page loads, sends or runs something.
ACTIVE = {
    "script",
    "link",
    "iframe",
    "object",
    "embed",
    "base",
    "form",
    "video",
    "audio",
    "source",
    "use",
    "image",
}
LOADING = {
    "src",
    "href",
    "srcset",
    "action",
    "data",
    "poster",
    "background",
    "xlink:href",
    "formaction",
    "ping",
}


def _pictures(*, originals: bool) -> list[PictureRow]:
    rows = [PictureRow("level 0.5", protected=True, pictures=(Image.new("RGB", (30, 20), "navy"),))]
    unprotected = PictureRow("original", protected=False, pictures=(Image.new("RGB", (30, 20), "red"),))
    return [unprotected, *rows] if originals else rows


def _parsed(page: str) -> ET.Element:
    """The page is written so that an XML parser, which forgives nothing, reads it as well."""
    return ET.fromstring(page.removeprefix("<!DOCTYPE html>"))


def _text(element: ET.Element) -> str:
    return " ".join(" ".join(element.itertext()).split())


def _section(root: ET.Element, name: str) -> ET.Element:
    return root.find(f".//section[@aria-labelledby='{name}']")


def _cells(section: ET.Element) -> dict[tuple[str, str, str], list[str]]:
    """Subject, row and column of a table of readings -> the texts in the cell."""
    columns = [_text(each) for each in section.findall(".//thead/tr/th")][1:]
    found = {}
    for body in section.findall(".//tbody"):
        subject = _text(body.find("./tr/th/div/bdi"))
        for row in body.findall("./tr")[1:]:
            for column, cell in zip(columns, row.findall("td"), strict=True):
                texts = [each.strip() for each in cell.itertext() if each.strip()]
                found[subject, _text(row.find("th")), column] = texts
    return found


PAGES = {
    "full": (full_report(), PRESETS),
    "hostile": (hostile_report(), {HOSTILE: 0.5}),
    "no chat model": (report(asked=False), PRESETS),
    "no presets": (full_report(), {}),
    "no level of ours": (report().model_copy(update={"points": (point("blur", 0.5, 0.5, 0.5),)}), PRESETS),
    "nothing but originals": (report().model_copy(update={"points": ()}), {}),
}


@pytest.mark.slow(seconds=0.04)
@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("originals", [True, False])
def test_every_page_is_well_formed_and_has_nothing_to_load_or_run(name, originals) -> None:
    measured, presets = PAGES[name]
    root = _parsed(render_html(measured, presets=presets, pictures=_pictures(originals=originals)))
    assert root.get("lang") == "en"
    for element in root.iter():
        assert element.tag not in ACTIVE
        for attribute, value in element.attrib.items():
            assert not attribute.startswith("on")
            assert attribute != "style"  # the policy would refuse it
            if attribute in LOADING:
                assert value.startswith(("#", "data:image/jpeg;base64,"))
    assert {child.tag for terms in root.iter("dl") for child in terms} <= {"dt", "dd"}
    assert not re.search(r"url\(|@import|image-set", root.find("head/style").text)
    targets = {element.get("id") for element in root.iter() if element.get("id")}
    assert {element.get("href")[1:] for element in root.iter("a")} <= targets
    assert all(element.get("scope") in {"col", "row", "rowgroup"} for element in root.iter("th"))


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_valid_html(name) -> None:
    html5lib = pytest.importorskip("html5lib", reason="html5lib is not installed")
    measured, presets = PAGES[name]
    html5lib.HTMLParser(strict=True).parse(render_html(measured, presets=presets))


def test_figures_on_the_page_are_those_of_the_report() -> None:
    measured = full_report()
    root = _parsed(render_html(measured, presets=PRESETS))
    columns = {"originals unprotected": measured.originals} | {
        f"level {each.level:g} {name}": each for each, name in zip(measured.of("ours"), PRESETS, strict=True)
    }
    seen = 0
    for section, kind in (
        ("attributes", "attributes"),
        ("tasks", "tasks"),
        ("private-questions", "private_answers"),
    ):
        cells = _cells(_section(root, section))
        for column, operating_point in columns.items():
            for each in getattr(operating_point, kind):
                low, high = each.accuracy.low * 100, each.accuracy.high * 100
                assert cells[each.subject, "accuracy", column] == [
                    f"{each.accuracy.value:.0%}",
                    f"{low:.0f} to {high:.0f}",
                ]
                assert cells[each.subject, "accuracy", "chance floor"] == [f"{each.chance:.0%}"]
                assert cells[each.subject, "balanced accuracy", column] == [f"{each.balanced_accuracy:.0%}"]
                seen += 1
    assert seen == 16


def test_leak_and_utility_of_every_engine_are_in_the_table() -> None:
    measured = full_report()
    section = _section(_parsed(render_html(measured, presets=PRESETS)), "front")
    (table,) = (each for each in section.iter("table") if _text(each.find("thead")).startswith("level"))
    rows = [
        [_text(cell) for cell in row.findall("td")][:2]
        for body in table.findall("tbody")
        for row in body.findall("tr")[1:]
    ]
    assert rows == [
        [
            f"{each.value:.2f} {each.low:.2f} to {each.high:.2f}".replace("-", "\N{MINUS SIGN}")
            for each in (operating_point.leak, operating_point.utility)
        ]
        for engine in measured.engines
        for operating_point in measured.of(engine)
    ]


def test_the_title_block_says_what_was_measured_with_what() -> None:
    measured = full_report().model_copy(
        update={
            "artifact_digest": "a" * 64,
            "data_digest": "b" * 64,
            "created_with": {"torch": "2.9"},
            "images": {"train": 3000, "test": 300},
            "seed": 17,
        }
    )
    facts = _text(_parsed(render_html(measured, presets=PRESETS)).find(".//header/dl"))
    for expected in ("a" * 64, "b" * 64, "torch 2.9", "3,000 train, 300 test", "Seed 17", "Fake:fake"):
        assert expected in facts
    assert "400 task questions and 0 private ones; 100 of them about unprotected pictures" in facts


def test_verdicts_stand_on_the_page_word_for_word() -> None:
    root = _parsed(render_html(full_report(), presets={"low": 0.0, "balanced": 0.55}))
    cards = [_text(each) for each in _section(root, "verdict").iter("article")]
    assert cards[0].startswith(
        "Low level 0 A fresh attacker still reads the 2 private attributes right in 86%"
    )
    assert "Balanced level 0.55 This level (0.55) was not measured" in cards[1]


def test_refusals_are_counted_apart_from_wrong_answers() -> None:
    root = _parsed(render_html(full_report(), presets=PRESETS))
    assert _cells(_section(root, "private-questions"))["hair", "refused or unusable", "level 1 high"] == [
        "3 of 40"
    ]
    assert _cells(_section(root, "tasks"))["How many?", "refused or unusable", "level 1 high"] == ["7 of 100"]
    assert "a refusal is no protection" in _text(_section(root, "private-questions"))


def test_hostile_text_stays_text() -> None:
    page = render_html(hostile_report(), presets={HOSTILE: 0.5})
    assert "<script" not in page
    assert "evil.example/x onerror" in page  # as text; the test above has looked at all elements
    root = _parsed(page)
    assert HOSTILE in "".join(_section(root, "attributes").itertext())
    assert HOSTILE in "".join(_section(root, "tasks").itertext())
    assert HOSTILE in "".join(_section(root, "not-tested").itertext())
    assert [each.tag for each in root.iter() if each.tag in {"script", "img"}] == []


@pytest.mark.parametrize("character", ["\0", "\x1b", "\u202e", "\ud800", "\uffff"])
def test_characters_that_break_or_disguise_a_page_are_replaced(character, tmp_path) -> None:
    measured = full_report().model_copy(update={"not_tested": (f"one{character}two",)})
    save_html(measured, tmp_path / "page.html", presets=PRESETS)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "one\ufffdtwo" in text
    assert character not in text


def test_the_policy_allows_the_page_its_own_style_and_nothing_else() -> None:
    def policy(page: str) -> list[str]:
        content = _parsed(page).find("head/meta[@http-equiv='Content-Security-Policy']").get("content")
        return sorted(content.split("; "))

    page = render_html(full_report(), presets=PRESETS)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    strict = ["base-uri 'none'", "default-src 'none'", "form-action 'none'", f"style-src 'sha256-{digest}'"]
    assert policy(page) == strict
    assert policy(render_html(full_report(), presets=PRESETS, pictures=_pictures(originals=False))) == sorted(
        [*strict, "img-src data:"]
    )


def test_the_same_report_gives_the_same_bytes(tmp_path) -> None:
    again = Report.model_validate_json(full_report().model_dump_json())
    save_html(full_report(), tmp_path / "one.html", presets=PRESETS, pictures=_pictures(originals=True))
    save_html(again, tmp_path / "two.html", presets=PRESETS, pictures=_pictures(originals=True))
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_without_a_chat_model_the_page_says_what_is_missing() -> None:
    root = _parsed(render_html(report(asked=False), presets=PRESETS))
    assert root.find(".//figure") is None
    assert "Utility was not measured" in _text(_section(root, "front"))
    assert "the evaluation had no chat model" in _text(_section(root, "tasks"))
    assert "there was no chat model" in _text(_section(root, "not-tested"))


def test_private_questions_that_were_not_asked_are_named_as_not_tested() -> None:
    root = _parsed(render_html(report(), presets=PRESETS))
    assert "asked no private question" in _text(_section(root, "private-questions"))
    assert "the chat model itself, asked for the private attributes" in _text(_section(root, "not-tested"))


def test_without_presets_every_level_has_a_verdict() -> None:
    section = _section(_parsed(render_html(full_report(), presets={})), "verdict")
    assert [_text(each) for each in section.iter("h3")] == ["Level 0", "Level 0.5", "Level 1"]
    assert "names no presets" in _text(section)


def test_another_attacker_and_another_figure_appear_as_rows() -> None:
    class Wider(Reading):
        average_precision: ConfidenceInterval

    measured = full_report()
    added = Wider(
        **reading("hair", 0.77, reader="residual network").model_dump(), average_precision=estimate(0.66)
    )
    ours = measured.of("ours")[0]
    points = (
        ours.model_copy(update={"attributes": (*ours.attributes, added)}),
        *(each for each in measured.points if each is not ours),
    )
    root = _parsed(render_html(measured.model_copy(update={"points": points}), presets=PRESETS))
    cells = _cells(_section(root, "attributes"))
    assert cells["hair", "residual network: accuracy", "level 0 low"] == ["77%", "72 to 82"]
    assert cells["hair", "residual network: average precision", "level 0 low"] == ["66%", "61 to 71"]
    assert cells["hair", "residual network: accuracy", "level 1 high"] == ["not measured"]
    assert cells["hair", "fresh classifier: accuracy", "level 0 low"] == ["80%", "75 to 85"]


@pytest.mark.parametrize("originals", [True, False])
def test_pictures_are_inside_the_page_and_unprotected_ones_are_announced(originals) -> None:
    rows = _pictures(originals=originals)
    root = _parsed(render_html(full_report(), presets=PRESETS, pictures=rows))
    images = list(root.iter("img"))
    assert [each.get("alt") for each in images] == [f"test picture 1, {row.label}" for row in rows]
    for image, row in zip(images, rows, strict=True):
        size = (int(image.get("width")), int(image.get("height")))
        assert size == (128, 85)
        embedded = base64.b64decode(image.get("src").partition(",")[2])
        assert embedded == encode_image(row.pictures[0].resize(size))
    assert ("holds unprotected pictures" in _text(root)) == originals
    assert ("No unprotected picture is on this page" in _text(root)) != originals


def test_a_page_that_cannot_be_written_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"the page .* was not written") as caught:
        save_html(full_report(), tmp_path / "file" / "page.html", presets=PRESETS)
    assert caught.value.__cause__ is None
