"""The page in a real browser, offline, and as ``vpp evaluate --html`` writes it."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, NamedTuple

import pytest
from PIL import Image

from langchain_vpp.images.codec import decode_image, encode_image
from langchain_vpp.images.sheet import thumbnail
from tests.made_reports import HOSTILE, full_report, hostile_report, report
from tests.untrained import save_untrained
from trainer.data.dataset import load_dataset
from trainer.evaluation.results import Report
from trainer.reporting.html import render_html
from trainer.reporting.pictures import PictureRow
from trainer.sandbox.drawing.scenes import make_data

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow(seconds=15)

PRESETS = {"low": 0.0, "balanced": 0.5, "high": 1.0}
LONG = "Which of the signs " + "beside the entrance " * 12 + "is" + "n" * 200 + "ot red?"


class Visit(NamedTuple):
    """Record of a browser that opened a page."""

    said: list[str]
    """Console messages and uncaught errors."""
    requested: list[str]
    failed: list[str]
    facts: dict


FACTS = """() => ({
    width: document.documentElement.scrollWidth,
    room: document.documentElement.clientWidth,
    styled: getComputedStyle(document.querySelector('table')).borderCollapse === 'collapse',
    tables: [...document.querySelectorAll('.scroll')].map(each => [each.scrollWidth, each.clientWidth]),
    outside: [...document.querySelectorAll('main > section > *')]
        .filter(each => each.getBoundingClientRect().right > document.documentElement.clientWidth + 1).length,
    chart: document.querySelector('svg.chart')?.getBoundingClientRect().width ?? null,
    text: document.body.innerText,
    scripted: window.scripted === true,
})"""


def visit(browser, path: Path, width: int) -> Visit:
    page = browser.new_page(viewport={"width": width, "height": 900}, offline=True)
    said, requested, failed = [], [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.goto(path.as_uri())
    facts = page.evaluate(FACTS)
    page.close()
    return Visit(said, [each for each in requested if not each.startswith("data:")], failed, facts)


def long_report() -> Report:
    """Long and unbroken texts, many levels."""
    full = full_report()
    tasks = (full.points[0].tasks[0].model_copy(update={"subject": LONG}),)
    points = [
        full.points[0].model_copy(update={"level": number / 12, "tasks": tasks}) for number in range(13)
    ]
    return full.model_copy(update={"points": tuple(points), "warnings": (LONG,), "artifact_digest": "f" * 64})


PAGES = {
    "full": (full_report(), PRESETS),
    "long": (long_report(), {}),
    "hostile": (hostile_report(), {HOSTILE: 0.5}),
    "no chat model": (report(asked=False), PRESETS),
}


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", PAGES)
def test_the_page_opens_offline_without_a_message_a_request_or_sideways_scrolling(
    browser, name, width, tmp_path
):
    measured, presets = PAGES[name]
    pictures = [
        PictureRow(f"level {level}", protected=True, pictures=(Image.new("RGB", (40, 30), "teal"),) * 6)
        for level in (0, 1)
    ]
    path = tmp_path / "report.html"
    path.write_text(render_html(measured, presets=presets, pictures=pictures), encoding="utf-8")
    seen = visit(browser, path, width)
    assert seen.said == []
    assert seen.requested == [path.as_uri()]
    assert seen.failed == []
    assert seen.facts["styled"]
    assert seen.facts["width"] <= seen.facts["room"] == width
    assert seen.facts["outside"] == 0
    if width == 390:
        assert any(content > room for content, room in seen.facts["tables"])  # wide ones scroll by themselves
    if name != "no chat model":
        assert 300 <= seen.facts["chart"] <= min(width, 540)


def test_a_message_a_request_and_sideways_scrolling_are_noticed(browser, tmp_path):
    page = render_html(full_report(), presets=PRESETS)
    path = tmp_path / "wide.html"
    inserted = '<div style="width: 3000px">wide</div><script>window.scripted = true</script>'
    loading = '<img src="http://127.0.0.1:9/a.png"><link rel="stylesheet" href="http://127.0.0.1:9/a.css">'
    path.write_text(page.replace("</main>", f"{inserted}{loading}</main>"), encoding="utf-8")
    guarded = visit(browser, path, 390)
    assert len(guarded.said) == 4  # the policy refuses each of them
    assert not guarded.facts["scripted"]
    assert guarded.facts["width"] == 390

    path.write_text(
        re.sub("<meta http-equiv[^>]*>", "", page).replace("</main>", f"{inserted}{loading}</main>"),
        encoding="utf-8",
    )
    bare = visit(browser, path, 390)
    assert "http://127.0.0.1:9/a.png" in bare.requested
    assert bare.facts["scripted"]
    assert bare.facts["width"] >= 3000


@pytest.fixture(scope="module")
def measured_data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "data"
    make_data(folder, train=200, val=20, test=20, seed=0)
    return folder


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "artifact"
    save_untrained(folder, presets={"low": 0.1, "balanced": 0.4, "high": 1.0})
    return folder


@pytest.mark.parametrize("with_originals", [False, True])
def test_evaluate_writes_a_page_with_unprotected_pictures_only_on_request(
    vpp, artifact, measured_data, with_originals, tmp_path
):
    config = tmp_path / "few.json"
    few = {"levels": [0.4], "baselines": {}, "train_images": 50, "classifiers": ["small"], "cold": []}
    config.write_text(json.dumps(few))
    options = ("--config", config, "--out", tmp_path / "r.json", "--html", tmp_path / "new" / "report.html")
    extra = ("--with-originals",) if with_originals else ()
    done = vpp.run("evaluate", artifact, "--data", measured_data, *options, *extra)
    assert done.code == 0, done.err
    page = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    measured = Report.model_validate_json((tmp_path / "r.json").read_bytes())
    assert measured.artifact_digest in page
    assert measured.data_digest in page
    assert "This level (0.1) was not measured" in page
    assert "This level (0.4) was not measured" not in page

    embedded = {base64.b64decode(each) for each in re.findall(r"data:image/jpeg;base64,([\w+/=]+)", page)}
    dataset = load_dataset(measured_data)
    originals = set()
    for example in dataset.examples:
        sent = decode_image(encode_image(dataset.open_image(example)))
        originals.add(encode_image(thumbnail(sent, 128)))
    assert embedded
    assert bool(embedded & originals) == with_originals
    assert ("holds unprotected pictures" in page) == with_originals


def test_evaluate_measures_the_presets_of_the_artifact(vpp, artifact, measured_data, tmp_path):
    config = tmp_path / "few.json"
    config.write_text(json.dumps({"baselines": {}, "train_images": 32, "classifiers": ["small"], "cold": []}))
    options = ("--config", config, "--out", tmp_path / "r.json", "--html", tmp_path / "r.html")
    done = vpp.run("evaluate", artifact, "--data", measured_data, *options)
    assert done.code == 0, done.err
    measured = Report.model_validate_json((tmp_path / "r.json").read_bytes())
    assert [each.level for each in measured.of("ours")] == [0.0, 0.1, 0.25, 0.4, 0.5, 0.75, 1.0]
    assert "was not measured, so nothing is claimed" not in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--with-originals",), "--with-originals is about the page. Give --html"),
        (("--html", "r.json"), "--out and --html are the same file. Give two"),
        (("--html", "data"), "data is a folder"),
    ],
)
def test_options_that_make_no_page_are_refused_before_anything_is_measured(
    vpp, artifact, measured_data, options, message
):
    (vpp.folder / "data").mkdir(exist_ok=True)
    refused = vpp.run("evaluate", artifact, "--data", measured_data, "--out", "r.json", *options)
    assert refused.code == 2
    assert message in refused.error
    assert not (vpp.folder / "r.json").exists()
