"""Rows of pictures and the contact sheet."""

from __future__ import annotations

import pytest
from PIL import Image

from langchain_vpp.engines import Pixelate
from trainer.data.dataset import load_dataset
from trainer.reporting.pictures import contact_sheet, picture_rows
from trainer.sandbox.drawing.scenes import make_data


def test_contact_sheet_has_a_row_for_each_engine_and_level(tmp_path) -> None:
    make_data(tmp_path / "data", train=20, val=2, test=3, seed=0)
    dataset = load_dataset(tmp_path / "data")
    two_rows = picture_rows(dataset, Pixelate(), (1.0,), {}, originals=True)
    four_rows = picture_rows(dataset, Pixelate(), (0.5, 1.0), {"blur": 0.5}, originals=True)
    contact_sheet(two_rows, tmp_path / "two.png")
    contact_sheet(four_rows, tmp_path / "four.png")
    with Image.open(tmp_path / "two.png") as two, Image.open(tmp_path / "four.png") as four:
        assert four.width == two.width
        assert four.height == pytest.approx(2 * two.height, abs=10)
        original, protected = two.crop((112, 4, 208, 100)), two.crop((112, 104, 208, 200))
        assert len(original.getcolors(10_000)) > 10 * len(protected.getcolors(10_000))


def test_pictures_without_originals_are_all_protected(tmp_path) -> None:
    make_data(tmp_path / "data", train=20, val=2, test=3, seed=0)
    rows = picture_rows(load_dataset(tmp_path / "data"), Pixelate(), (0.0, 1.0), {}, originals=False)
    assert [(row.label, row.protected, len(row.pictures)) for row in rows] == [
        ("level 0", True, 3),
        ("level 1", True, 3),
    ]
