"""Pictures of other kinds than an artifact was made for."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from langchain_vpp.errors import DataError
from tests.domains import give
from tests.untrained import save_untrained
from trainer.data.dataset import load_dataset
from trainer.evaluation import unfamiliar
from trainer.evaluation.unfamiliar import FAMILIAR, UnfamiliarReport, measure_unfamiliar
from trainer.reporting.markdown import for_markdown
from trainer.reporting.unfamiliar import save_page, unfamiliar_table


def familiar(seed: int) -> Image.Image:
    return Image.new("RGB", (64, 48), (120 + seed, 90, 100))


def reading_everything(image) -> list[str]:
    """A reader that sees the name in every picture but those of one grey."""
    return ["" if image.float().std() < 1 else "Ada Lovelace"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unfamiliar") / "artifact"
    save_untrained(folder)
    give(folder, [familiar(seed) for seed in range(10)])
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    lines = []
    for number, split in enumerate(["train", "train", "val", *["test"] * 6]):
        familiar(number).save(folder / f"{number}.png")
        task = {"question": "Sign?", "answer": "a", "choices": ["a", "b"]}
        texts = {"name": "Ada Lovelace"}
        lines.append({"image": f"{number}.png", "split": split, "tasks": [task], "texts": texts})
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return load_dataset(folder, needs_attributes=False)


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    folder = tmp_path_factory.mktemp("others")
    for number in range(3):
        (folder / "noise").mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40, 56, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "noise" / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def report(folder, data, others):
    def none() -> str:
        raise DataError("no browser")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unfamiliar, "find_browser", none)
        return measure_unfamiliar(folder, dataset=data, folder=others, count=3, reader=reading_everything)


def of(report: UnfamiliarReport, kind: str):
    return next(each for each in report.kinds if each.kind == kind)


def test_familiar_pictures_stay_and_others_are_covered_and_show_nothing(report):
    assert (of(report, FAMILIAR).pictures, of(report, FAMILIAR).covered) == (6, 0)
    for kind in ("given: noise", "drawn scenes", "inverted"):
        row = of(report, kind)
        assert row.covered == row.covered_least == row.pictures == 3
        assert not row.shown


def test_what_is_not_covered_is_read(report):
    row = of(report, "mirrored")  # a mirrored picture of one colour is the same
    assert (row.pictures, row.covered, row.private, row.shown) == (3, 0, 3, 3)


def test_kinds_that_the_statistics_know_are_marked(report):
    marked = {each.kind for each in report.kinds if each.fitted_against}
    assert {"inverted", "turned by 90 degrees", "far away"} <= marked
    assert not marked & {FAMILIAR, "mirrored", "dark", "given: noise", "drawn scenes"}


def test_what_could_not_be_drawn_is_said(report):
    assert any("Chromium" in warning for warning in report.warnings)


def test_the_report_is_a_table_and_a_page(report, tmp_path):
    table = for_markdown(unfamiliar_table(report))
    assert "| given: noise | 3 | 100.0% [" in table
    assert "| mirrored | 3 | 0.0% [" in table
    assert "3 of 3 |" in table
    save_page(report, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "given: noise" in page
    assert "<script" not in page
    assert UnfamiliarReport.model_validate_json(report.model_dump_json()) == report


def test_an_artifact_that_knows_no_domain_covers_nothing_and_the_report_says_so(tmp_path, others):
    save_untrained(tmp_path / "a")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unfamiliar, "_DOCUMENTS", {})
        report = measure_unfamiliar(tmp_path / "a", folder=others, count=2)
    assert [each.covered for each in report.kinds] == [0, 0]
    assert any("is unknown" in warning for warning in report.warnings)


def test_a_folder_without_pictures_is_refused(folder, tmp_path):
    with pytest.raises(DataError, match="there is no picture"):
        measure_unfamiliar(folder, folder=tmp_path, count=1)
