"""The plot of the front: its geometry, and the same drawing as a file."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from langchain_vpp.errors import TrainingError
from tests.made_reports import HOSTILE, full_report, hostile_report, point, report
from trainer.reporting.chart import draw_front, save_front
from trainer.reporting.html import render_html

PRESETS = {"low": 0.0, "balanced": 0.5, "high": 1.0}
SVG = "{http://www.w3.org/2000/svg}"


def _saved(measured, tmp_path, presets=PRESETS) -> ET.Element:
    save_front(measured, tmp_path / "new" / "front.svg", presets=presets)
    return ET.parse(tmp_path / "new" / "front.svg").getroot()


def test_the_chart_places_points_by_their_figures() -> None:
    chart = draw_front(full_report(), PRESETS)
    ours = chart.curves[-1]
    assert ours.ours
    by_title = {mark.title: mark for mark in ours.marks}
    low = by_title["ours at level 0: leak 0.60 [0.55, 0.65], utility 0.98 [0.93, 1.03]"]
    high = by_title["ours at level 1: leak 0.10 [0.05, 0.15], utility 0.40 [0.35, 0.45]"]
    ticks = {(axis, tick.text): tick.at for axis in ("x_ticks", "y_ticks") for tick in getattr(chart, axis)}
    unit_x = ticks["x_ticks", "1"] - ticks["x_ticks", "0"]
    unit_y = ticks["y_ticks", "1"] - ticks["y_ticks", "0"]
    assert unit_y < 0 < unit_x  # upwards on a screen is towards 0
    assert low.x - high.x == pytest.approx(0.5 * unit_x, abs=0.2)
    assert low.y - high.y == pytest.approx(0.58 * unit_y, abs=0.2)
    assert high.x - high.x_interval[0] == pytest.approx(0.05 * unit_x, abs=0.2)


def test_the_chart_keeps_everything_inside_its_frame_and_labels_apart() -> None:
    crowd = [point("ours", level, 1.3, -0.4 + level / 20) for level in (0.0, 0.1, 0.2, 0.3)]
    chart = draw_front(report().model_copy(update={"points": tuple(crowd)}), {})
    for mark in chart.curves[0].marks:
        assert all(chart.left <= x <= chart.right for x in (mark.x, *mark.x_interval))
        assert all(chart.top <= y <= chart.bottom for y in (mark.y, *mark.y_interval))
    heights = sorted(label.y for label in chart.labels)
    assert min(b - a for a, b in pairwise(heights)) >= 12


def test_engines_are_told_apart_by_colour_and_by_shape() -> None:
    points = tuple(point(f"engine {number}", 0.5, 0.5, 0.5) for number in range(7))
    curves = draw_front(report().model_copy(update={"points": points}), {}).curves
    assert len({curve.colour for curve in curves}) == len({curve.outline for curve in curves}) == 7


def test_the_file_is_a_drawing_with_every_point_and_a_legend(tmp_path) -> None:
    root = _saved(full_report(), tmp_path)
    assert root.tag == f"{SVG}svg"
    assert min(int(root.get(side)) for side in ("width", "height")) > 500
    titles = [each.text for each in root.iter(f"{SVG}title")][1:]
    assert sorted(titles) == sorted(
        mark.title for curve in draw_front(full_report(), PRESETS).curves for mark in curve.marks
    )
    texts = [each.text for each in root.iter(f"{SVG}text")]
    assert set(PRESETS) <= set(texts)
    assert [each for each in texts if "hypervolume" in each] == [
        f"{label}, hypervolume {full_report().hypervolume(engine):.2f}"
        for label, engine in (("this protector", "ours"), ("blur", "blur"))
    ]


def test_the_page_and_the_file_draw_the_same(tmp_path) -> None:
    page = ET.fromstring(render_html(full_report(), presets=PRESETS).removeprefix("<!DOCTYPE html>"))
    drawn = page.find(".//svg[@class='chart']")
    saved = _saved(full_report(), tmp_path)

    def marks(root: ET.Element, namespace: str) -> list[dict[str, str]]:
        return [
            each.attrib
            for each in root.iter(f"{namespace}path")
            if each.find(f"{namespace}title") is not None
        ]

    assert marks(drawn, "") == marks(saved, SVG)
    assert [each.attrib for each in drawn.iter("polyline")] == [
        each.attrib for each in saved.iter(f"{SVG}polyline")
    ]


def test_hostile_text_stays_text_and_nothing_is_loaded(tmp_path) -> None:
    root = _saved(hostile_report(), tmp_path, {HOSTILE: 0.5})
    assert {each.tag.removeprefix(SVG) for each in root.iter()} <= {
        "svg", "title", "desc", "style", "rect", "line", "text", "g", "polyline", "path",
    }  # fmt: skip
    assert not [
        name for each in root.iter() for name in each.attrib if "href" in name or name.startswith("on")
    ]
    assert HOSTILE in [each.text for each in root.iter(f"{SVG}text")]


def test_a_drawing_without_utility_is_refused(tmp_path) -> None:
    with pytest.raises(TrainingError, match="without a chat model"):
        save_front(report(asked=False), tmp_path / "front.svg", presets={})
    assert not (tmp_path / "front.svg").exists()


def test_a_drawing_that_cannot_be_written_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"the plot .* was not written") as caught:
        save_front(report(), tmp_path / "file" / "front.svg", presets={})
    assert caught.value.__cause__ is None
