"""Reports: JSON, tables, plot, contact sheet."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from rich.console import Console

from langchain_vpp.engines import Pixelate
from langchain_vpp.errors import TrainingError
from trainer.data import load_dataset
from trainer.measurements import Estimate, OperatingPoint, QueryCount, Reading, Report
from trainer.report import contact_sheet, plot_front, save_json, tables
from trainer.sandbox.scenes import make_data


def _estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.05, high=value + 0.05)


def _reading(subject: str, accuracy: float, *, unusable: int = 0) -> Reading:
    return Reading(
        subject=subject,
        reader="fresh classifier",
        accuracy=_estimate(accuracy),
        balanced_accuracy=accuracy,
        chance=0.27,
        scaled=accuracy,
        count=100,
        unusable=unusable,
    )


def _point(engine: str, level: float, leak: float, utility: float | None) -> OperatingPoint:
    return OperatingPoint(
        engine=engine,
        level=level,
        leak=_estimate(leak),
        utility=None if utility is None else _estimate(utility),
        attributes=(_reading("hair", leak),),
        tasks=() if utility is None else (_reading("How many?", utility, unusable=7),),
    )


def _report(*, asked: bool = True) -> Report:
    points = [
        _point("ours", 0.0, 0.5, 1.0),
        _point("ours", 1.0, 0.25, 0.5),
        _point("blur", 0.5, 0.75, 1.0),
        _point("blur", 0.8, -0.1, -0.1),
    ]
    if not asked:
        points = [_point(point.engine, point.level, 0.5, None) for point in points]
    return Report(
        created_with={},
        artifact_digest="a",
        data_digest="d",
        seed=0,
        model="Fake:fake" if asked else None,
        images={"test": 100},
        attacker="fresh",
        originals=_point("none", 0.0, 1.0, 1.0),
        points=tuple(points),
        queries=QueryCount(),
    )


def _text(report: Report) -> str:
    console = Console(file=io.StringIO(), width=120)
    for table in tables(report):
        console.print(table)
    return console.file.getvalue()


def test_hypervolumes_and_the_ratio_have_known_values() -> None:
    report = _report()
    assert report.hypervolume("ours") == pytest.approx(0.25 * 0.5 + 0.5 * 1.0)
    assert report.hypervolume("blur") == pytest.approx(0.25)
    assert report.best_baseline == "blur"
    assert report.advantage == pytest.approx(2.5)


def test_a_leak_below_chance_is_noise_and_adds_no_area() -> None:
    points = (_point("ours", 0.0, -0.2, 0.5),)
    assert _report().model_copy(update={"points": points}).hypervolume("ours") == pytest.approx(0.5)


def test_json_reads_back_equal(tmp_path) -> None:
    report = _report()
    save_json(report, tmp_path / "new" / "report.json")
    assert Report.model_validate_json((tmp_path / "new" / "report.json").read_text()) == report


def test_tables_print_the_chance_floor_the_refusals_and_the_ratio() -> None:
    text = _text(_report())
    assert "chance floor (mean accuracy 0.27)" in text
    assert "(+7)" in text
    assert "2.50 x the best" in text


def test_points_that_nothing_beats_are_marked() -> None:
    front = tables(_report())[0]
    marks = dict(
        zip(
            zip(*(column.cells for column in front.columns[:2]), strict=True),
            front.columns[-1].cells,
            strict=True,
        )
    )
    assert marks == {("ours", "0"): "*", ("ours", "1"): "*", ("blur", "0.5"): "", ("blur", "0.8"): ""}


def test_tables_of_an_evaluation_without_a_chat_model_say_so() -> None:
    text = _text(_report(asked=False))
    assert "not measured" in text
    assert "Tasks answered" not in text


def test_plot_is_written_as_a_picture(tmp_path) -> None:
    plot_front(_report(), tmp_path / "front.png")
    with Image.open(tmp_path / "front.png") as plot:
        assert plot.format == "PNG"
        assert min(plot.size) > 500


def test_plot_without_utility_is_refused(tmp_path) -> None:
    with pytest.raises(TrainingError, match="without a chat model"):
        plot_front(_report(asked=False), tmp_path / "front.png")


@pytest.mark.parametrize("write", [save_json, plot_front])
def test_a_place_that_cannot_be_written_is_named(write, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="was not written") as caught:
        write(_report(), tmp_path / "file" / "report")
    assert caught.value.__cause__ is None


def test_contact_sheet_has_a_row_for_each_engine_and_level(tmp_path) -> None:
    make_data(tmp_path / "data", train=20, val=2, test=3, seed=0)
    dataset = load_dataset(tmp_path / "data")
    contact_sheet(tmp_path / "two.png", dataset, Pixelate(), (1.0,), {})
    contact_sheet(tmp_path / "four.png", dataset, Pixelate(), (0.5, 1.0), {"blur": 0.5})
    with Image.open(tmp_path / "two.png") as two, Image.open(tmp_path / "four.png") as four:
        assert four.width == two.width
        assert four.height == pytest.approx(2 * two.height, abs=10)
        original, protected = two.crop((112, 4, 208, 100)), two.crop((112, 104, 208, 200))
        assert len(original.getcolors(10_000)) > 10 * len(protected.getcolors(10_000))
