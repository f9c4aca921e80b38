"""A provider that is busy, silent or refuses: training ends within its budget and says what happened."""

from __future__ import annotations

import re
import sqlite3

import pytest

from tests.e2e.conftest import TINY
from tests.e2e.providers import TroubledProvider

pytestmark = pytest.mark.slow(seconds=30)

TROUBLE = {"busy": 0.2, "silent": 0.2, "refuses": 0.2}
PRICE = ("--price", "1000,1000")  # of 100 tokens: 0.1 dollars an answer


def train(vpp, data, config, out, provider, *more):
    arguments = ("train", "--data", data, "--model", "sandbox", "--base-url", provider.base_url)
    return vpp.run(*arguments, "--config", config, "--out", out, *more)


def ledger_texts(out):
    with sqlite3.connect(out / "ledger.sqlite") as connection:
        return [text for (text,) in connection.execute("SELECT text FROM queries")]


def count(pattern, text):
    (found,) = re.findall(pattern, text)
    return int(found)


def test_training_ends_within_its_budget_and_says_what_happened(vpp, data, config, tmp_path):
    out = tmp_path / "run"
    with TroubledProvider(TROUBLE, holds=2) as provider:
        done = train(vpp, data, config, out, provider, "--timeout", 2)
    assert done.code == 0, done.err
    assert all(provider.counts.values()), provider.counts
    assert len(provider.paid) == len(set(provider.paid)) <= TINY["max_queries"]
    texts = ledger_texts(out)
    assert len(texts) == len(provider.paid)
    assert sum("sorry" in text for text in texts) == provider.counts["refuses"]
    assert count(r"answers: (\d+) usable", done.err) == provider.counts["answered"]
    assert count(r"(\d+) refused", done.err) == provider.counts["refuses"]
    failed = provider.counts["busy"] + provider.counts["silent"]
    assert count(r"(\d+) requests failed and were sent again", done.err) == failed
    assert count(r"(\d+) requests got no answer in time", done.err) == provider.counts["silent"]


def test_silence_counts_against_the_limit_on_cost_and_ends_training_with_3(vpp, data, config, tmp_path):
    out = tmp_path / "run"
    with TroubledProvider(TROUBLE) as provider:
        stopped = train(vpp, data, config, out, provider, *PRICE, "--max-cost", 3)
        assert stopped.code == 3
        assert "would exceed the budget of $3 " in stopped.error
        assert "resume with a larger --max-cost" in stopped.error
        assert "answers: " in stopped.err
        # Had each request without an answer been charged too, it would still be no more.
        assert 0.1 * (len(provider.paid) + provider.counts["silent"]) <= 3.001
        done = train(vpp, data, config, out, provider, *PRICE, "--max-cost", 100, "--resume")
        assert done.code == 0
        assert len(provider.paid) == len(set(provider.paid)) <= TINY["max_queries"]


def test_a_provider_that_is_always_busy_ends_training_with_4_and_nothing_is_spent(
    vpp, data, config, tmp_path
):
    out = tmp_path / "run"
    with TroubledProvider({"busy": 1.0}) as provider:
        stopped = train(vpp, data, config, out, provider)
        assert stopped.code == 4
        assert "HTTP status 429" in stopped.error
        assert ledger_texts(out) == []
        provider.trouble.clear()
        assert train(vpp, data, config, out, provider, "--resume").code == 0


def test_a_provider_that_refuses_everything_ends_training_after_some_dozens_and_can_be_put_right(
    vpp, data, config, tmp_path
):
    out = tmp_path / "run"
    with TroubledProvider({"refuses": 1.0}) as provider:
        for resumed in ((), ("--resume",)):
            before = len(provider.paid)
            stopped = train(vpp, data, config, out, provider, *resumed)
            assert stopped.code == 4
            assert re.search(r"none of the latest 2\d answers .*\(2\d refused\)", stopped.error)
            paid = len(provider.paid) - before
            assert f"answers: {paid} refused" in stopped.err
            if not resumed:
                assert 24 <= paid <= 30
        assert not (out / "model.safetensors").exists()
        provider.trouble.clear()
        again = train(vpp, data, config, out, provider, "--resume", "--max-queries", 200)
    assert again.code == 0, again.err
    assert len(provider.paid) == len(set(provider.paid))
    assert (out / "model.safetensors").exists()
