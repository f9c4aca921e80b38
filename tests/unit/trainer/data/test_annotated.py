"""Folders of annotated pictures: what is read from them, and what is refused."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from langchain_vpp.errors import DataError
from trainer.data.annotated import load_annotated

SPAN = {"label": "private_person", "text": "Ada Byron", "bbox": [10, 20, 30, 8]}


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "pages"
    inside.mkdir()
    for place in (tmp_path, inside):
        Image.new("RGB", (60, 40)).save(place / "a.png")

    def write(*lines):
        texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
        (inside / "annotations.jsonl").write_text("\n".join(texts))
        return inside

    return write


def test_boxes_are_edges_and_each_line_of_a_text_has_one(folder):
    line = {"image_path": "a.png", "template": "chat", "theme": "dark", "spans": [SPAN]}
    (picture,) = load_annotated(folder(line))
    assert (picture.path.name, picture.kind, picture.taken) == ("a.png", "chat", "screen")
    assert picture.private == (("private_person", "Ada Byron", ((10, 20, 40, 28),)),)
    two = {"image_path": "a.png", "taken": "scan", "spans": [SPAN | {"boxes": [[1, 2, 3, 4], [5, 6, 7, 8]]}]}
    (picture,) = load_annotated(folder(two))
    assert picture.taken == "scan"
    assert picture.private[0].boxes == ((1, 2, 4, 6), (5, 6, 12, 14))


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ((), "no annotations.jsonl"),
        (("{",), "line 1 .* no JSON"),
        (({"image_path": "a.png"}, {"spans": []}), "image_path: Field required"),
        (({"image_path": "a.png", "spans": [{"label": "x", "text": "y", "bbox": [1, 2]}]},), "bbox"),
        (({"image_path": "b.png"},), "line 1 .* not in"),
        (({"image_path": "../a.png"},), "line 1 .* not in"),
    ],
)
def test_what_is_not_valid_is_refused_by_its_line(folder, lines, match):
    with pytest.raises(DataError, match=match):
        load_annotated(folder(*lines))
