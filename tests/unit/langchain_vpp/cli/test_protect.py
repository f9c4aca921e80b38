"""``vpp protect --dry-run`` writes nothing; ``--contact-sheet`` shows pictures before and after."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from langchain_vpp.cli.app import app


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        Image.effect_noise((40, 30), 60 + number).convert("RGB").save(folder / f"{number}.jpg")
    (folder / "notes.txt").write_text("mine")
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["protect", *map(str, arguments)])


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(photos, tmp_path):
    out = tmp_path / "out"
    done = run(photos, "--engine", "blur", "--out", out, "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    shown = json.loads(done.stdout)
    assert [each["output"] for each in shown["would_protect"]] == [str(out / f"{n}.jpg") for n in range(3)]
    assert [each["input"] for each in shown["skipped"]] == [str(photos / "notes.txt")]
    assert "3 would be protected by blur at level 0.5" in done.stderr
    assert not out.exists()
    assert run(photos / "nothing.jpg", "--engine", "blur", "--out", out, "--dry-run").exit_code == 2


def test_a_contact_sheet_shows_pictures_before_and_after(photos, tmp_path):
    sheet = tmp_path / "sheets" / "sheet.png"
    done = run(
        photos, "--engine", "blur", "--level", "1", "--out", tmp_path / "out", "--contact-sheet", sheet
    )
    assert done.exit_code == 0, done.output
    with Image.open(sheet) as image:
        assert image.size == (112 + 3 * 100, 2 * 100 + 4)
        before, after = image.crop((112, 4, 208, 76)), image.crop((112, 104, 208, 176))
        assert before.convert("L").getextrema() != after.convert("L").getextrema()
    assert "which shows originals" in done.stderr


def test_a_sheet_that_can_not_be_written_is_refused_before_anything_is_protected(photos, tmp_path):
    done = run(
        photos, "--engine", "blur", "--out", tmp_path / "out", "--contact-sheet", tmp_path / "sheet.gif"
    )
    assert done.exit_code == 2
    assert "ends in .png or .jpg" in done.stderr
    assert not (tmp_path / "out").exists()
