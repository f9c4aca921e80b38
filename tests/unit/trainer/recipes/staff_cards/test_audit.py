"""The audit that comes along is of the artifact that comes along, and its card and page say what it measured."""

from __future__ import annotations

import base64
import re
import shutil
from pathlib import Path

import pytest

from langchain_vpp.artifact import artifact_folder, read_manifest
from langchain_vpp.errors import DataError
from langchain_vpp.images.codec import decode_image
from trainer.evaluation.results import OURS, Report
from trainer.recipes import staff_cards
from trainer.recipes.documents.pages import KINDS
from trainer.recipes.staff_cards.audit import audit_artifact
from trainer.recipes.staff_cards.model_card import render_card
from trainer.recipes.staff_cards.out_of_distribution import Seen, load_seen, save_seen
from trainer.recipes.staff_cards.plan import SMOKE_PLAN, StaffCardsJob, read_config
from trainer.reporting.html import render_html
from trainer.reporting.pictures import PictureRow

_RECIPE = Path(staff_cards.__file__).parent
_ARTIFACT = artifact_folder("staff-cards")
_MANIFEST, _ = read_manifest(_ARTIFACT)
_AUDITED = "0f676e2553a97abfcfe67dc5e9cdcf2b734e6e14e3e3012393a039a064962ea3"
"""Digest of the artifact when it was audited: the same network, before it got the statistics of its domain."""
_WEIGHTS = "8336255b8883b0d6863023ec211bf0c43f85baad2074a98d23579945f33ef724"
"""sha256 of the weights that were audited."""
_PICTURE = re.compile(r'src="data:image/jpeg;base64,([^"]+)"')


@pytest.fixture(scope="module")
def report() -> Report:
    return Report.model_validate_json((_RECIPE / "report.json").read_bytes())


def test_the_report_is_about_this_very_artifact(report):
    assert report.artifact_digest == _AUDITED
    assert _MANIFEST.files["model.safetensors"] == _WEIGHTS


def test_the_card_is_what_the_recipe_writes(report):
    seen = load_seen(_RECIPE / "out_of_distribution.json")
    assert (_ARTIFACT / "README.md").read_text(encoding="utf-8") == render_card(_MANIFEST, report, seen)


def test_the_page_is_what_the_report_is_rendered_to(report):
    page = (_RECIPE / "report.html").read_text(encoding="utf-8")
    rows = re.findall(r'<tr><th scope="row">([^<]+)</th>((?:<td><img [^>]+></td>)+)</tr>', page)
    pictures = [
        PictureRow(
            label,
            protected=True,
            pictures=tuple(decode_image(base64.b64decode(each)) for each in _PICTURE.findall(cells)),
        )
        for label, cells in rows
    ]
    assert sum(len(row.pictures) for row in pictures) == 12
    # A picture that is compressed once more has other bytes.
    again = render_html(report, presets=_MANIFEST.presets, pictures=pictures)
    assert _PICTURE.sub("", again) == _PICTURE.sub("", page)


def test_documents_were_read_at_every_preset_and_as_originals_and_grey(report):
    conditions = [
        ("none", 0.0),
        *((OURS, level) for level in sorted(_MANIFEST.presets.values())),
        ("grey", 1.0),
    ]
    assert [(each.kind, each.engine, each.level) for each in report.other_pictures] == [
        (kind, *condition) for kind in KINDS for condition in conditions
    ]
    shown = {(each.kind, each.engine, each.level): each.shown for each in report.other_pictures}
    for kind in KINDS:
        assert shown[kind, "none", 0.0].shown >= 0.9 * shown[kind, "none", 0.0].pictures
        assert shown[kind, "grey", 1.0].shown == 0


def test_an_audit_without_a_browser_ends_before_it_begins(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    job = StaffCardsJob(tmp_path / "faces", tmp_path / "out", SMOKE_PLAN, read_config(smoke=True))
    with pytest.raises(DataError, match="Chromium is not installed"):
        audit_artifact(job)


def test_what_was_seen_of_other_pictures_reads_back_equal(tmp_path):
    seen = (Seen("page of words", 7, 0.0123), Seen("card", 5, 0.5, 0.75, 0.2))
    save_seen(seen, tmp_path / "new" / "seen.json")
    assert load_seen(tmp_path / "new" / "seen.json") == seen
