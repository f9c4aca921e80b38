"""Pages are light, name nothing outside, and hold neither scripts nor styles of their own."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from trainer.studio.labels import Labels

MOST_BYTES = 200_000
FILES = [*(resources.files("trainer.studio") / "static").iterdir()]
TEMPLATES = [*(resources.files("trainer.studio") / "templates").iterdir()]


def test_a_page_with_all_that_it_loads_weighs_less_than_200_kb(open_studio):
    browser = open_studio()
    page = browser.see("picture")
    loaded = sum(len(browser.see(f"static/{each.name}").content) for each in FILES)
    assert len(FILES) >= 6
    assert len(page.content) + loaded < MOST_BYTES


@pytest.mark.parametrize("file", [*FILES, *TEMPLATES], ids=lambda file: file.name)
def test_nothing_is_loaded_from_elsewhere(file):
    text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|//[a-z]+\.|@import", text)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: file.name)
def test_templates_hold_no_script_or_style(template):
    text = template.read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|javascript:|\|safe", text)


@pytest.mark.parametrize(
    "script", [each for each in FILES if each.name.endswith(".js")], ids=lambda file: file.name
)
def test_scripts_build_no_page_from_text(script):
    text = script.read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text)


def test_tabs_lead_to_what_the_studio_was_started_with(open_studio, tmp_path):
    assert set(re.findall(r'<a href="(\w+)"', open_studio().see("picture").text)) == {"picture"}
    (tmp_path / "data.jsonl").write_text("")
    browser = open_studio(runs=(tmp_path / "run",), labels=Labels(tmp_path))
    assert set(re.findall(r'<a href="(\w+)"', browser.see("picture").text)) == {"picture", "runs", "labels"}
    assert browser.see("reports/0").status_code == 404


def test_hostile_names_of_runs_are_escaped(open_studio, tmp_path):
    browser = open_studio(runs=(tmp_path / "<img src=x>",))
    assert "<img src=x>" not in browser.see("runs").text
