"""Reports open by number, load nothing and run nothing."""

from __future__ import annotations

import pytest

from langchain_vpp.errors import DataError
from tests.made_reports import full_report, hostile_report
from trainer.reporting.files import save_json
from trainer.reporting.html import save_html
from trainer.studio.reports import Reports


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "reports"
    save_json(full_report(), inside / "a.json")
    save_html(full_report(), inside / "b.html", presets={})
    (inside / "other.json").write_text('{"no": "report"}')
    (inside / "other.html").write_text("<title>Something else</title>")
    (tmp_path / "secret.html").write_text("<title>Visual privacy report</title>SECRET")
    (inside / "link.html").symlink_to(tmp_path / "secret.html")
    return inside


def test_reports_are_found_and_nothing_else_is(folder):
    assert Reports((folder,)).names == ["reports/a.json", "reports/b.html"]
    assert Reports((folder / "a.json",)).names == ["reports/a.json"]


def test_a_place_without_a_report_is_refused(folder, tmp_path):
    with pytest.raises(DataError, match="no report"):
        Reports((folder / "other.json",))
    with pytest.raises(DataError, match="no report"):
        Reports((tmp_path / "missing",))


def test_a_report_opens_under_a_policy_that_lets_nothing_in_it_run(open_studio, folder):
    browser = open_studio(reports=(folder,))
    assert "reports/a.json" in browser.see("reports").text
    for number in range(2):
        answer = browser.see(f"reports/{number}")
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("sandbox; default-src 'none'; style-src 'sha256-")
        assert "unsafe" not in policy
        assert "Visual privacy report" in answer.text


def test_a_file_that_was_exchanged_later_still_runs_nothing(open_studio, folder):
    browser = open_studio(reports=(folder,))
    (folder / "b.html").write_text("<script>alert(1)</script>")
    assert (
        browser.see("reports/1")
        .headers["content-security-policy"]
        .startswith("sandbox; default-src 'none'; style-src 'none'")
    )
    (folder / "a.json").write_text("{}")
    assert browser.see("reports/0").status_code == 404


def test_a_hostile_report_is_escaped(open_studio, tmp_path):
    save_json(hostile_report(), tmp_path / "a.json")
    assert "<script" not in open_studio(reports=(tmp_path,)).see("reports/0").text


@pytest.mark.parametrize(
    "path", ["2", "-1", "99999999999999999999", "..%2fsecret.html", "../secret.html", "a.json"]
)
def test_no_other_file_can_be_named(open_studio, folder, path):
    answer = open_studio(reports=(folder,)).see(f"reports/{path}")
    assert answer.status_code in {403, 404}
    assert "SECRET" not in answer.text
