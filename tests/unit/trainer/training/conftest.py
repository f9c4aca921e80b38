from __future__ import annotations

import pytest

from tests.unit.trainer.training.small_run import small_dataset


@pytest.fixture(scope="session")
def signs(tmp_path_factory):
    """A small data set about signs."""
    return small_dataset(tmp_path_factory.mktemp("signs"))


@pytest.fixture(scope="package", autouse=True)
def _without_domains():
    """Runs fit no domain, which takes longer than all of such a run; ``test_domain.py`` fits some."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.training.trainer.give_domain", lambda *_, **__: "")
        yield
