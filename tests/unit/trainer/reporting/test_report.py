"""The plot of the front."""

from __future__ import annotations

import pytest
from PIL import Image

from langchain_vpp.errors import TrainingError
from tests.made_reports import report
from trainer.reporting.report import plot_front


def test_plot_is_written_as_a_picture(tmp_path) -> None:
    plot_front(report(), tmp_path / "front.png")
    with Image.open(tmp_path / "front.png") as plot:
        assert plot.format == "PNG"
        assert min(plot.size) > 500


def test_plot_without_utility_is_refused(tmp_path) -> None:
    with pytest.raises(TrainingError, match="without a chat model"):
        plot_front(report(asked=False), tmp_path / "front.png")
