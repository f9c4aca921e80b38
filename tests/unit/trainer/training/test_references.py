"""Reference answers of the chat model itself, about originals that may be shown."""

from __future__ import annotations

import json
import sqlite3

import pytest
import torch
from langchain_core.language_models import FakeListChatModel
from PIL import Image

from langchain_vpp.artifact import read_manifest
from langchain_vpp.errors import BudgetExhaustedError, TrainingError
from tests.unit.trainer.training.small_run import small_config
from trainer import Trainer, load_dataset
from trainer.algorithms.interface import NoQueries
from trainer.data.answers import answer_space
from trainer.data.wire import encode
from trainer.training.batches import TrainingSplit
from trainer.training.budget import BudgetPlan
from trainer.training.cost import estimate
from trainer.training.references import complete, draw_pairs

SHOWN = ("0.png", "5.png", "13.png")
"""Two pictures of the training split and one of the validation split."""


@pytest.fixture
def partly_shown(signs, tmp_path):
    """The data set about signs, three pictures of which may be shown."""
    lines = [json.loads(line) for line in (signs.folder / "data.jsonl").read_text().splitlines()]
    for line in lines:
        line["may_be_shown"] = line["image"] in SHOWN
        number = int(line["image"].removesuffix(".png"))  # no two pictures may be alike when they are encoded
        Image.new("RGB", (16, 16), (14 * number, 0, 0)).save(tmp_path / line["image"])
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return load_dataset(tmp_path)


def by_model(**changes):
    return small_config(references="model", max_queries=40, validation=0.3, **changes)


def trainer(dataset, config, answer="b"):
    return Trainer(FakeListChatModel(responses=[answer]), dataset, config)


@pytest.mark.trains
def test_only_originals_that_may_be_shown_are_sent(partly_shown, tmp_path):
    run = trainer(partly_shown, by_model()).fit(tmp_path / "run")
    space = answer_space(partly_shown)
    split = TrainingSplit.load(partly_shown, space, 32)
    originals = dict(zip(encode(split.images / 255)[0], split.names, strict=True))
    with sqlite3.connect(run / "ledger.sqlite") as ledger:
        rows = ledger.execute("SELECT purpose, image FROM queries").fetchall()
        pictures = dict(ledger.execute("SELECT digest, data FROM images").fetchall())
    asked = {purpose for purpose, _ in rows}
    assert asked == {"train", "reference", "validate"}
    sent = {originals[pictures[image]] for purpose, image in rows if pictures[image] in originals}
    assert sent == {"0.png", "5.png"}
    assert len(rows) <= 40


def test_answers_become_references_and_the_student_fills_the_gaps(partly_shown):
    space = answer_space(partly_shown)
    split = TrainingSplit.load(partly_shown, space, 32, labelled=False)
    assert (split.references == -1).all()
    split.known[0, 0] = 1

    class Expects(NoQueries):
        def posteriors(self, images):
            return torch.tensor([1.0, 0.0]).expand(len(images), len(space.questions), 2)

    filled = complete(split.known, split.phrasings, split.images, Expects())
    assert filled[0, 0] == 1
    assert ((filled >= 0) == (split.phrasings >= 0)).all()
    assert torch.equal(complete(split.known, split.phrasings, split.images, NoQueries()), split.known)


def test_pairs_are_about_pictures_that_may_be_shown_and_are_the_same_in_every_call():
    phrasings = torch.zeros(6, 2, dtype=torch.long)
    shown = torch.tensor([True, False, True, False, False, False])
    pairs = draw_pairs(phrasings, shown, 3, seed=1)
    assert set(pairs[:, 0].tolist()) <= {0, 2}
    assert torch.equal(pairs, draw_pairs(phrasings, shown, 3, seed=1))
    assert len(draw_pairs(phrasings, shown, 99, seed=1)) == 4


def test_the_plan_leaves_room_for_references_and_the_estimate_counts_them(partly_shown):
    plan = BudgetPlan.of(by_model())
    assert plan.references + plan.training + 6 * plan.front_point <= 40
    assert plan.references > 0 < plan.front_point
    assert BudgetPlan.of(by_model(estimator="label-only")).training == 0
    assert BudgetPlan.of(by_model(estimator="none")).references == 0
    assert estimate(by_model(), partly_shown, "gpt-4o-mini").queries <= 40


@pytest.mark.trains
@pytest.mark.parametrize("estimator", ["student", "label-only", "none"])
def test_every_estimator_ends_within_its_budget(partly_shown, tmp_path, estimator):
    config = by_model(estimator=estimator)
    manifest, _ = read_manifest(trainer(partly_shown, config).fit(tmp_path / "run"))
    assert manifest.queries <= 40


def test_nothing_is_sent_if_no_picture_may_be_shown_or_no_query_is_left(signs, partly_shown, tmp_path):
    with pytest.raises(TrainingError, match="may_be_shown"):
        trainer(signs, by_model())
    with pytest.raises(BudgetExhaustedError, match="reference"):
        trainer(partly_shown, by_model(estimator="label-only").model_copy(update={"max_queries": 0})).fit(
            tmp_path / "run"
        )


@pytest.mark.trains
@pytest.mark.parametrize("kill_at", [1, 3, 5])
def test_a_killed_run_goes_on_with_the_same_references(partly_shown, tmp_path, kill_at):
    config = by_model(checkpoint_every=2)

    class Killed(Exception):  # noqa: N818  ends a run from outside
        pass

    def kill(progress):
        if progress.phase == "protector" and progress.step == kill_at:
            raise Killed

    whole = trainer(partly_shown, config).fit(tmp_path / "whole")
    with pytest.raises(Killed):
        trainer(partly_shown, config).fit(tmp_path / "killed", on_progress=kill)
    resumed = trainer(partly_shown, config).fit(tmp_path / "killed", resume=True)
    assert (whole / "model.safetensors").read_bytes() == (resumed / "model.safetensors").read_bytes()
    assert read_manifest(whole)[0].queries == read_manifest(resumed)[0].queries
