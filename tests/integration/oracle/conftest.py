from __future__ import annotations

import pytest

from trainer.oracle.ledger import Ledger


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch):
    monkeypatch.setattr("trainer.oracle.retry._FIRST_WAIT_S", 0.01)


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite", model="m") as opened:
        yield opened
