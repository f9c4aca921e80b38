"""Figures that follow from a report."""

from __future__ import annotations

from pathlib import Path

import pytest

import trainer
from tests.made_reports import point, report
from trainer.evaluation.results import OURS, Report
from trainer.reporting.html import render_html
from trainer.reporting.tables import evaluation_tables

COMMITTED = sorted(Path(trainer.__file__).parent.rglob("report.json"))


def test_hypervolumes_and_the_ratio_have_known_values() -> None:
    measured = report()
    assert measured.hypervolume("ours") == pytest.approx(0.25 * 0.5 + 0.5 * 1.0)
    assert measured.hypervolume("blur") == pytest.approx(0.25)
    assert measured.best_baseline == "blur"
    assert measured.advantage == pytest.approx(2.5)


def test_a_leak_below_chance_is_noise_and_adds_no_area() -> None:
    points = (point("ours", 0.0, -0.2, 0.5),)
    assert report().model_copy(update={"points": points}).hypervolume("ours") == pytest.approx(0.5)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_a_report_that_comes_along_loads_reads_back_equal_and_is_shown(path) -> None:
    measured = Report.model_validate_json(path.read_bytes())
    assert Report.model_validate_json(measured.model_dump_json()) == measured
    assert measured.of(OURS)
    assert len(evaluation_tables(measured)) >= 4
    assert measured.artifact_digest in render_html(measured, presets={})


def test_the_committed_reports_are_found() -> None:
    assert COMMITTED
