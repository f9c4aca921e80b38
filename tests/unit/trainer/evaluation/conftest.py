"""Data that several tests of the evaluation measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.trainer.evaluation.squares import draw_squares

if TYPE_CHECKING:
    from trainer.data.dataset import Dataset


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Dataset:
    return draw_squares(tmp_path_factory.mktemp("squares"))
