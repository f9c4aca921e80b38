"""Checkpoints belong to their run, and those of version 0.1 go on."""

from __future__ import annotations

import sqlite3

import pytest
import torch

from langchain_vpp.errors import TrainingError
from tests.unit.trainer.training.small_run import small_config, small_trainer
from trainer.algorithms.interface import AnswerSpace, Phrasing
from trainer.data.answers import answer_space
from trainer.training.checkpoint import (
    RunIdentity,
    check_answer_space,
    load_checkpoint,
    save_checkpoint,
    space_digest,
)
from trainer.training.config import TrainerConfig

pytestmark = pytest.mark.trains


class InterruptedByTestError(Exception):
    pass


def interrupt(trainer, folder, *, step: int) -> None:
    def on_progress(progress):
        if (progress.phase, progress.step) == ("protector", step):
            raise InterruptedByTestError

    with pytest.raises(InterruptedByTestError):
        trainer.fit(folder, on_progress=on_progress)


def as_version_0_1(path, run: RunIdentity) -> None:
    """Rewrite a checkpoint as version 0.1 would have written it."""
    state = torch.load(path, weights_only=True)
    del state["format"], state["space"]
    averaged = state["averaged"]
    del averaged["n_averaged"]
    state["averaged"] = {name.removeprefix("module."): value for name, value in averaged.items()}
    state["fingerprint"] = run.fingerprint(version_0_1=True)
    torch.save(state, path)


def identity(dataset, **changes) -> RunIdentity:
    return RunIdentity(small_config(**changes), dataset.digest, "FakeListChatModel:fake-list-chat-model")


def spent(ledger) -> int:
    with sqlite3.connect(ledger) as connection:
        return connection.execute("SELECT count(*) FROM queries").fetchone()[0]


@pytest.mark.parametrize(
    ("settings", "fingerprint"),
    [
        ({}, "d4a4a9a7bb6ed0bbd044793a0d448dc9ae937e9010d5b0d65349aec755bf0b46"),
        (
            {
                "ema_decay": 0.9,
                "grey_penalty": 0.25,
                "reveal_penalty": 1.0,
                "query_warmup": 0.2,
                "seed": 3,
            },
            "d5842cc37bcb6919990a5d859812f5c17a22a373658ec67fe35bb4232db7e795",
        ),
        (
            {"max_queries": 7, "tensorboard": True},
            "d4a4a9a7bb6ed0bbd044793a0d448dc9ae937e9010d5b0d65349aec755bf0b46",
        ),
    ],
)
def test_fingerprints_of_version_0_1_are_known_again(settings, fingerprint):
    """The digests were computed by version 0.1."""
    run = RunIdentity(TrainerConfig.model_validate(settings), "d" * 64, "ChatOpenAI:gpt-4o-mini")
    assert run.fingerprint(version_0_1=True) == fingerprint
    assert run.fingerprint() != fingerprint


def test_every_part_of_an_identity_changes_the_fingerprint():
    run = RunIdentity(small_config(), "digest", "model")
    others = [
        run._replace(config=small_config(seed=1)),
        run._replace(data_digest="another"),
        run._replace(model="another"),
        run._replace(estimator="Own"),
        run._replace(has_assessor=True),
        run._replace(started_from="weights"),
    ]
    assert len({each.fingerprint() for each in (run, *others)}) == 7
    assert run._replace(config=small_config(max_queries=9, price=(1, 1))).fingerprint() == run.fingerprint()


def test_a_run_of_version_0_1_is_resumed_and_equals_an_uninterrupted_one(signs, tmp_path):
    whole, old = tmp_path / "whole", tmp_path / "old"
    small_trainer(signs).fit(whole)
    interrupt(small_trainer(signs), old, step=5)
    as_version_0_1(old / "checkpoint.pt", identity(signs))
    small_trainer(signs).fit(old, resume=True)
    for name in ("model.safetensors", "manifest.json"):
        assert (old / name).read_bytes() == (whole / name).read_bytes()


def test_networks_of_another_shape_learn_anew_and_pay_nothing_twice(signs, tmp_path):
    whole, old = tmp_path / "whole", tmp_path / "old"
    small_trainer(signs, pretraining_steps=2).fit(whole)
    interrupt(small_trainer(signs, pretraining_steps=2), old, step=5)
    state = torch.load(old / "checkpoint.pt", weights_only=True)
    for network in (state["assessor"], state["estimator"]["network"]):
        trunk = next(name for name in network if "trunk" in name)
        network[trunk] = torch.zeros(64, 48, 3, 3)
    torch.save(state, old / "checkpoint.pt")
    taught = []
    small_trainer(signs, pretraining_steps=2).fit(
        old, resume=True, on_progress=lambda progress: taught.append(progress.phase)
    )
    assert {"assessor", "student"} < set(taught)
    assert spent(old / "ledger.sqlite") == spent(whole / "ledger.sqlite")


def test_a_run_of_version_0_1_with_other_settings_names_the_way_and_the_way_pays_nothing_twice(
    signs, tmp_path
):
    old, new = tmp_path / "old", tmp_path / "new"
    interrupt(small_trainer(signs), old, step=5)
    as_version_0_1(old / "checkpoint.pt", identity(signs, fidelity=9.0))
    before = (old / "checkpoint.pt").read_bytes()
    with pytest.raises(TrainingError, match=r"is of version 0\.1 .*nothing paid is lost") as caught:
        small_trainer(signs).fit(old, resume=True)
    assert f"--ledger {old / 'ledger.sqlite'}" in str(caught.value)
    assert (old / "checkpoint.pt").read_bytes() == before
    paid = spent(old / "ledger.sqlite")
    small_trainer(signs).fit(tmp_path / "whole")
    small_trainer(signs).fit(new, ledger=old / "ledger.sqlite")
    assert spent(old / "ledger.sqlite") == spent(tmp_path / "whole" / "ledger.sqlite") > paid > 0


@pytest.mark.parametrize("stated", ["another way to ask", None])
def test_a_run_that_asked_in_another_way_names_the_way_out(tmp_path, stated):
    table = torch.ones(1, 2, dtype=torch.bool)
    asked = (Phrasing(0, ("The Hague", "Delft"), (1, 0)),)
    state = {} if stated is None else {"space": stated}
    now = AnswerSpace(
        ("Where?",), ("Delft", "The Hague"), table, asked
    )  # version 0.1 sorted "hague" after "delft"
    other = AnswerSpace(("Where?",), ("4.0", "12,000"), table, asked)  # and "12 000" before "4 0"
    check_answer_space(tmp_path, {"space": space_digest(now)}, now, ledger=tmp_path)
    if stated is None:
        check_answer_space(tmp_path, state, now, ledger=tmp_path)
    with pytest.raises(TrainingError, match=r"begun by a version .*nothing paid is lost") as caught:
        check_answer_space(tmp_path, state, other, ledger=tmp_path / "ledger.sqlite")
    assert f"--ledger {tmp_path / 'ledger.sqlite'}" in str(caught.value)


def test_a_checkpoint_says_how_its_run_asks(signs, tmp_path):
    small_trainer(signs).fit(tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["space"] == space_digest(answer_space(signs))
    torch.save(state | {"space": "another way"}, tmp_path / "checkpoint.pt")
    with pytest.raises(TrainingError, match="begun by a version"):
        small_trainer(signs).fit(tmp_path, resume=True)


def test_a_checkpoint_of_a_newer_format_is_refused(tmp_path):
    run = RunIdentity(small_config(), "digest", "model")
    path = tmp_path / "checkpoint.pt"
    torch.save({"format": 3, "fingerprint": run.fingerprint()}, path)
    with pytest.raises(TrainingError, match=r"format 3; this version reads up to 2\. Nothing was done"):
        load_checkpoint(path, run, ledger=tmp_path / "ledger.sqlite")


def test_a_checkpoint_belongs_to_one_server_and_an_earlier_one_that_names_none_goes_on(tmp_path):
    first, second, usual = (
        RunIdentity(small_config(), "digest", f"ChatOpenAI:m{server}")
        for server in ("@0123456789ab", "@ba9876543210", "")
    )
    path = tmp_path / "checkpoint.pt"
    for run, others in ((first, (second, usual)), (usual, (first, second))):
        save_checkpoint(path, run, {"step": 1})
        assert load_checkpoint(path, run, ledger=tmp_path)["step"] == 1
        for other in others:
            with pytest.raises(TrainingError, match="at another address is another model"):
                load_checkpoint(path, other, ledger=tmp_path)
    torch.save({"format": 2, "fingerprint": usual.fingerprint(), "step": 2}, path)
    assert load_checkpoint(path, first, ledger=tmp_path)["step"] == 2


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_refused(tmp_path, content):
    run = RunIdentity(small_config(), "digest", "model")
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, run, {"step": 1})
    assert load_checkpoint(path, run, ledger=tmp_path)["step"] == 1
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    with pytest.raises(TrainingError, match="can't be read") as caught:
        load_checkpoint(path, run, ledger=tmp_path)
    assert caught.value.__context__ is None


def test_a_checkpoint_that_can_not_be_written_leaves_the_one_before_it(tmp_path):
    run = RunIdentity(small_config(), "digest", "model")
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, run, {"step": 1})
    path.with_suffix(".tmp").mkdir()
    with pytest.raises(TrainingError, match=r"was not written.*The one before it is whole"):
        save_checkpoint(path, run, {"step": 2})
    assert load_checkpoint(path, run, ledger=tmp_path)["step"] == 1
