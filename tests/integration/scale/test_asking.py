"""Training with requests of workers: one ledger, one budget, and equal results, also when workers are killed."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from langchain_vpp.errors import BudgetExhaustedError, OracleError
from tests.e2e.providers import TroubledProvider
from tests.unit.trainer.training.small_run import small_config, small_dataset
from trainer.oracle.ledger import Budget, Ledger
from trainer.oracle.model_spec import ModelSpec
from trainer.oracle.query import Query
from trainer.scale.asking import ClusterOracle
from trainer.training.trainer import Trainer

pytestmark = pytest.mark.slow(seconds=60)


class _Provider(TroubledProvider):
    """Answers after some seconds."""

    def __init__(self, delay=0.0):
        super().__init__({})
        self._delay = delay

    def handle(self, request, body):
        time.sleep(self._delay)
        super().handle(request, body)


def spec(provider):
    return ModelSpec.parse("sandbox", provider.base_url)


def queries(count):
    return [Query(f"picture {number}".encode(), "Which?", ("a", "b")) for number in range(count)]


def asking(oracle, ledger, budget, *, at_once=8):
    return oracle.open(
        ledger,
        budget,
        access="labels",
        questions_per_call=1,
        requests_per_second=None,
        max_concurrency=at_once,
    )


def kill_workers(oracle, count):
    """Kill worker processes as the operating system does when memory is short."""
    import ray

    workers = oracle._workers
    for actor in workers._actors[:count]:
        os.kill(ray.get(actor.process.remote()), signal.SIGKILL)


def test_the_budget_holds_with_four_workers_of_which_two_are_killed(cluster, tmp_path):
    with (
        _Provider(0.1) as first,
        _Provider(0.1) as second,
        ClusterOracle([spec(first), spec(second)], cluster.address, workers=4) as oracle,
        Ledger(tmp_path / "ledger.sqlite", model=oracle.identity) as ledger,
    ):
        opened = asking(oracle, ledger, Budget(60))
        opened.ask(queries(4), purpose="train")  # all workers are ready
        killed = threading.Event()

        def kill():
            kill_workers(oracle, 2)
            killed.set()

        def on_answer():
            if not killed.is_set() and not killer.is_alive():
                killer.start()

        killer = threading.Thread(target=kill)
        answers = opened.ask(queries(60), purpose="train", on_answer=on_answer)
        killer.join()
        paid = first.paid + second.paid
        lost = answers.count(None)
        assert ledger.spent()[0] == 60
        assert len(paid) == len(set(paid)) <= 60
        assert 0 < lost == opened.counts.unanswered <= 8
        assert first.paid
        assert second.paid
        # What was lost is never asked again, and everything else is known.
        assert opened.ask(queries(60), purpose="train").count(None) == lost
        assert len(first.paid + second.paid) == len(paid)
        with pytest.raises(BudgetExhaustedError):
            opened.ask(queries(61), purpose="train")
        assert len(first.paid + second.paid) == len(paid)


@pytest.mark.trains
def test_training_with_workers_equals_training_alone(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.training.trainer.give_domain", lambda *_, **__: "")
    (tmp_path / "data").mkdir()
    dataset, config = small_dataset(tmp_path / "data"), small_config(max_queries=60, validation=0.4)
    with _Provider() as first, _Provider() as second:
        alone = Trainer(spec(first).build(), dataset, config).fit(tmp_path / "alone")
        with ClusterOracle([spec(first), spec(second)], cluster.address, workers=3) as oracle:
            together = Trainer(oracle, dataset, config).fit(tmp_path / "together")
        assert second.paid
        assert first.paid
    assert (together / "model.safetensors").read_bytes() == (alone / "model.safetensors").read_bytes()
    assert (together / "manifest.json").read_bytes() == (alone / "manifest.json").read_bytes()


def test_a_worker_that_cannot_set_the_model_up_costs_no_query(cluster, tmp_path):
    with (
        _Provider() as provider,
        ClusterOracle([spec(provider)], cluster.address, workers=1) as oracle,
        Ledger(tmp_path / "ledger.sqlite", model=oracle.identity) as ledger,
    ):
        oracle._models = (ModelSpec("no-such-provider", "sandbox"),)
        with pytest.raises(OracleError, match="workers died in a row"):
            asking(oracle, ledger, Budget(10)).ask(queries(2), purpose="train")
        assert ledger.spent()[0] == 0
        assert provider.paid == []
