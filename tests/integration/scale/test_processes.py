"""Two processes train one protector: equal weights in both, one ledger, and the result of one process."""

from __future__ import annotations

import sqlite3

import pytest
from safetensors.torch import load_file

from langchain_vpp.errors import TrainingError
from tests.e2e.providers import TroubledProvider
from tests.unit.trainer.training.small_run import small_config, small_dataset
from trainer.oracle.model_spec import ModelSpec
from trainer.training.trainer import Trainer

pytest.importorskip("lightning_fabric", reason="needs the extra distributed; `make scale` has it")

from trainer.scale.processes import SharedRun, fit_together

pytestmark = [pytest.mark.slow(seconds=40), pytest.mark.trains]


@pytest.fixture(scope="module")
def signs(tmp_path_factory):
    return small_dataset(tmp_path_factory.mktemp("signs"))


def test_two_processes_learn_as_one_does(signs, tmp_path):
    config = small_config(max_queries=60, validation=0.4, batch=4)
    with TroubledProvider({}) as provider:
        model = ModelSpec.parse("sandbox", provider.base_url)
        fit_together(SharedRun(model, signs.folder, config, tmp_path / "together"), 2)
        asked = list(provider.paid)
        alone = Trainer(model.build(), signs, config).fit(tmp_path / "alone")
        again = provider.paid[len(asked) :]
    # One ledger: nothing was asked twice, and all of it is in there.
    assert len(asked) == len(set(asked)) <= 60
    with sqlite3.connect(tmp_path / "together" / "ledger.sqlite") as ledger:
        assert ledger.execute("SELECT count(*) FROM queries").fetchone() == (len(asked),)
    assert len(asked) == len(again)
    one, two = (load_file(folder / "model.safetensors") for folder in (alone, tmp_path / "together"))
    assert one.keys() == two.keys()
    # Adam makes much of the last digits of a gradient near 0, so weights differ in the fourth.
    farthest = max(float((one[name] - two[name]).abs().max()) for name in one)
    assert farthest < 1e-3


def test_an_error_of_the_first_process_ends_all(signs, tmp_path):
    (tmp_path / "checkpoint.pt").touch()
    with TroubledProvider({}) as provider:
        model = ModelSpec.parse("sandbox", provider.base_url)
        with pytest.raises(TrainingError, match="holds a run already"):
            fit_together(SharedRun(model, signs.folder, small_config(batch=4), tmp_path), 2)
        assert provider.paid == []


def test_a_batch_that_two_processes_cannot_share_is_refused(signs, tmp_path):
    class Two:
        is_first, count = True, 2

    with pytest.raises(TrainingError, match="share a batch of 3"):
        Trainer(_model(), signs, small_config(batch=3)).fit(tmp_path, processes=Two())
    with pytest.raises(TrainingError, match="mgda"):
        Trainer(_model(), signs, small_config(batch=4, scalarisation="mgda")).fit(tmp_path, processes=Two())


def _model():
    from langchain_core.language_models import FakeListChatModel

    return FakeListChatModel(responses=["a"])
