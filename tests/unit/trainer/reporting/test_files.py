"""Reports as JSON files."""

from __future__ import annotations

import pytest

from langchain_vpp.errors import TrainingError
from tests.made_reports import report
from trainer.evaluation.results import Report
from trainer.reporting.files import save_json


def test_json_reads_back_equal(tmp_path) -> None:
    measured = report()
    save_json(measured, tmp_path / "new" / "report.json")
    assert Report.model_validate_json((tmp_path / "new" / "report.json").read_text()) == measured


def test_a_place_that_cannot_be_written_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="was not written") as caught:
        save_json(report(), tmp_path / "file" / "report")
    assert caught.value.__cause__ is None
