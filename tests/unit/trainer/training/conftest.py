from __future__ import annotations

import pytest

from tests.unit.trainer.training.small_run import small_dataset


@pytest.fixture(scope="session")
def signs(tmp_path_factory):
    """A small data set about signs."""
    return small_dataset(tmp_path_factory.mktemp("signs"))
