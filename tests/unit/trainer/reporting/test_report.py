"""Reports: JSON, tables, plot, contact sheet."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from rich.console import Console

from langchain_vpp.engines import Pixelate
from langchain_vpp.errors import TrainingError
from tests.made_reports import point, report
from trainer.data.dataset import load_dataset
from trainer.evaluation.results import Report
from trainer.reporting.report import contact_sheet, picture_rows, plot_front, save_json, tables
from trainer.sandbox.drawing.scenes import make_data


def _text(measured: Report) -> str:
    console = Console(file=io.StringIO(), width=120)
    for table in tables(measured):
        console.print(table)
    return console.file.getvalue()


def test_hypervolumes_and_the_ratio_have_known_values() -> None:
    measured = report()
    assert measured.hypervolume("ours") == pytest.approx(0.25 * 0.5 + 0.5 * 1.0)
    assert measured.hypervolume("blur") == pytest.approx(0.25)
    assert measured.best_baseline == "blur"
    assert measured.advantage == pytest.approx(2.5)


def test_a_leak_below_chance_is_noise_and_adds_no_area() -> None:
    points = (point("ours", 0.0, -0.2, 0.5),)
    assert report().model_copy(update={"points": points}).hypervolume("ours") == pytest.approx(0.5)


def test_json_reads_back_equal(tmp_path) -> None:
    measured = report()
    save_json(measured, tmp_path / "new" / "report.json")
    assert Report.model_validate_json((tmp_path / "new" / "report.json").read_text()) == measured


def test_tables_print_the_chance_floor_the_refusals_and_the_ratio() -> None:
    text = _text(report())
    assert "chance floor (mean accuracy 0.27)" in text
    assert "(+7)" in text
    assert "2.50 x the best" in text


def test_points_that_nothing_beats_are_marked() -> None:
    front = tables(report())[0]
    marks = dict(
        zip(
            zip(*(column.cells for column in front.columns[:2]), strict=True),
            front.columns[-1].cells,
            strict=True,
        )
    )
    assert marks == {("ours", "0"): "*", ("ours", "1"): "*", ("blur", "0.5"): "", ("blur", "0.8"): ""}


def test_tables_of_an_evaluation_without_a_chat_model_say_so() -> None:
    text = _text(report(asked=False))
    assert "not measured" in text
    assert "Tasks answered" not in text


def test_plot_is_written_as_a_picture(tmp_path) -> None:
    plot_front(report(), tmp_path / "front.png")
    with Image.open(tmp_path / "front.png") as plot:
        assert plot.format == "PNG"
        assert min(plot.size) > 500


def test_plot_without_utility_is_refused(tmp_path) -> None:
    with pytest.raises(TrainingError, match="without a chat model"):
        plot_front(report(asked=False), tmp_path / "front.png")


@pytest.mark.parametrize("write", [save_json, plot_front])
def test_a_place_that_cannot_be_written_is_named(write, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="was not written") as caught:
        write(report(), tmp_path / "file" / "report")
    assert caught.value.__cause__ is None


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
