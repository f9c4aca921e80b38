"""Folders of drawn pages: what stands in their annotations."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from langchain_vpp.errors import DataError
from trainer.data.annotated import load_annotated
from trainer.sandbox.drawing.documents import folder as drawing
from trainer.sandbox.drawing.documents.browser import PlacedWord, PrivateSpan
from trainer.sandbox.drawing.documents.pages import Document


@pytest.fixture
def drawn(monkeypatch):
    asked = []

    def draw(layout, *, seed, taken, **options):
        asked.append((layout, seed, taken))
        spans = (PrivateSpan("private_person", "Ada\nByron", ((10, 20, 40, 30), (5, 32, 25, 42))),)
        words = (PlacedWord("from", (2, 20, 8, 30)),)
        return Document(layout, taken, Image.new("RGB", (64, 48)), spans, words)

    monkeypatch.setattr(drawing, "draw_document", draw)
    return asked


def test_layouts_seeds_and_ways_take_turns(tmp_path, drawn):
    drawing.draw_folder(tmp_path / "pages", ["chat", "letter"], 10, seed=7)
    assert [layout for layout, _, _ in drawn] == ["chat", "letter"] * 5
    assert {way for _, _, way in drawn} == {"screen", "scan", "photo"}
    assert len({(layout, seed) for layout, seed, _ in drawn}) == 10


def test_what_is_written_can_be_loaded(tmp_path, drawn):
    drawing.draw_folder(tmp_path / "pages", ["chat"], 1)
    (picture,) = load_annotated(tmp_path / "pages")
    assert (picture.kind, picture.taken) == ("chat", "screen")
    assert picture.private[0].boxes == ((10, 20, 40, 30), (5, 32, 25, 42))
    assert picture.words == (("from", (2, 20, 8, 30)),)
    (line,) = (tmp_path / "pages" / "annotations.jsonl").read_text().splitlines()
    assert json.loads(line)["spans"][0]["bbox"] == [5, 20, 35, 22]


def test_a_folder_that_holds_something_is_left_alone(tmp_path, drawn):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="is not empty"):
        drawing.draw_folder(tmp_path, ["chat"], 1)
    assert drawn == []
