"""A run of a learned admission: what it sends, what it saves, and how it goes on after a crash."""

from __future__ import annotations

import json
import multiprocessing
import signal
import sqlite3

import pytest
from pydantic import ValidationError

from langchain_vpp import ImageProtector
from langchain_vpp.artifact import load_protector, read_manifest, verify_artifact
from langchain_vpp.engines.words import engine
from langchain_vpp.engines.words.kinds import HARMLESS
from langchain_vpp.errors import ArtifactError, BudgetExhaustedError, DataError, TrainingError
from langchain_vpp.images.codec import decode_image
from tests.unit.langchain_vpp.engines.words.made import words_of
from tests.unit.trainer.training.admission.pages import (
    PEOPLE,
    SETTINGS,
    KnownWords,
    LookingAtWords,
    answer,
    draw,
    lines_of,
    run_until_killed,
    save_pages,
)
from trainer import load_dataset
from trainer.training.admission.config import AdmissionConfig
from trainer.training.admission.run import AdmissionTrainer


def sent(folder):
    """Pictures of a ledger, as they were sent, with the prompts."""
    with sqlite3.connect(folder / "ledger.sqlite") as connection:
        rows = connection.execute("SELECT data, prompt FROM queries JOIN images ON digest = image").fetchall()
    return [(decode_image(data), prompt) for data, prompt in rows]


@pytest.mark.slow(seconds=0.4)
def test_the_kinds_that_each_question_needs_are_found_and_shown(finished):
    manifest, _ = verify_artifact(finished)
    assert manifest.needs == {
        "Whom is it from?": ("words", "names"),
        "What is the total?": ("words", "amounts"),
    }
    assert manifest.shown[0].kinds == ("words", "amounts", "names")
    assert manifest.shown[-1] == manifest.shown[-1].model_copy(update={"level": 1.0, "kinds": ()})
    assert [step.level for step in manifest.shown] == [point.level for point in manifest.front]
    assert manifest.front[0].utility == 1.0
    assert manifest.front[-1].leak == 0
    assert manifest.front[0].answers >= 2
    assert manifest.queries <= 28
    assert manifest.presets["low"] <= manifest.presets["balanced"] <= manifest.presets["high"] < 1


class Naming(LookingAtWords):
    """Answers with the token where the name is covered."""

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        result = super()._generate(messages, stop, run_manager, **kwargs)
        said = result.generations[0].message
        asks = any(
            "from" in block["text"] for block in messages[-1].content_blocks if block["type"] == "text"
        )
        said.content = "NAME_1" if asks and said.content == "I can't tell." else said.content
        return result


@pytest.mark.slow(seconds=0.8)
@pytest.mark.parametrize("restored", [True, False])
def test_an_answer_in_tokens_is_right_where_it_is_restored(make_trainer, tmp_path, restored):
    folder = make_trainer(Naming(), restored=restored).fit(tmp_path / "run")
    manifest, _ = verify_artifact(folder)
    assert ("names" in manifest.needs["Whom is it from?"]) is not restored
    assert manifest.needs["What is the total?"] == ("words", "amounts")
    assert ("tokens restored" in manifest.front_measured_by) is restored


def test_the_artifact_protects_and_has_no_network(finished, monkeypatch):
    monkeypatch.setattr(engine, "RapidReader", KnownWords)
    page = draw(words_of(*lines_of(4)))
    for level, answers in (("low", (PEOPLE[4], "$740.50")), (1.0, ("I can't tell.",) * 2)):
        protector = ImageProtector.from_pretrained(finished, level=level)
        seen = protector.protect_image(page)
        assert tuple(answer(seen, each) for each in ("from", "total")) == answers
    with pytest.raises(ArtifactError, match="has no network"):
        load_protector(finished)
    assert not list(finished.glob("*.safetensors"))


@pytest.mark.slow(seconds=4)
def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(finished, dataset, make_trainer, tmp_path):
    out = tmp_path / "run"
    # A process of its own from the start: one that is forked from threads can wait for ever.
    context = multiprocessing.get_context("spawn")
    killed = context.Process(target=run_until_killed, args=(dataset.folder, out, SETTINGS, 13))
    killed.start()
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    assert not (out / "manifest.json").exists()
    with sqlite3.connect(out / "ledger.sqlite") as connection:
        # What was on its way when the process died is never asked again; here it was not charged.
        connection.execute("DELETE FROM queries WHERE text IS NULL")
        (paid,) = connection.execute("SELECT count(*) FROM queries").fetchone()
    reader, model = KnownWords(), LookingAtWords()
    make_trainer(model, reader).fit(out, resume=True)
    assert (out / "manifest.json").read_bytes() == (finished / "manifest.json").read_bytes()
    assert paid > 10
    assert model.asked == read_manifest(out)[0].queries - paid
    assert reader.reads == 0


def test_private_kinds_that_were_not_named_are_never_sent(make_trainer, tmp_path):
    make_trainer(may_show=()).fit(tmp_path)
    pictures = sent(tmp_path)
    assert len(pictures) > 10
    assert any(answer(picture, "What is the total?") != "I can't tell." for picture, _ in pictures)
    for number, name in enumerate(PEOPLE):
        words = words_of(*lines_of(number))
        for word in words:
            if word.text in name.split():
                box = tuple(map(round, word.box))
                original = draw(words).crop(box).convert("L")
                assert all(
                    picture.crop(box).convert("L").tobytes() != original.tobytes() for picture, _ in pictures
                )
    manifest = read_manifest(tmp_path)[0]
    assert {kind for step in manifest.shown for kind in step.kinds} <= HARMLESS
    assert manifest.needs["Whom is it from?"] == ()


def test_the_questions_ask_for_the_words_of_the_picture(finished):
    for _, prompt in sent(finished):
        assert prompt.splitlines()[1] == "Answer with as few words as possible, as they stand in the picture."


def test_a_folder_holds_one_run(finished, make_trainer):
    with pytest.raises(TrainingError, match="holds a run already; nothing was done"):
        make_trainer().fit(finished)
    for changes in ({"seed": 2}, {"may_show": ()}, {"query_choice": "uniform"}):
        with pytest.raises(TrainingError, match="belongs to other settings, data or chat model"):
            make_trainer(**changes).fit(finished, resume=True)


def test_a_budget_that_is_too_small_is_refused_before_anything_is_sent(make_trainer, tmp_path):
    model = LookingAtWords()
    with pytest.raises(BudgetExhaustedError, match="too small for 2 questions; nothing was sent"):
        make_trainer(model, max_queries=4).fit(tmp_path)
    assert model.asked == 0


def test_without_validation_the_front_is_the_expected_one(make_trainer, tmp_path):
    make_trainer(validation=0, max_queries=20).fit(tmp_path)
    manifest = read_manifest(tmp_path)[0]
    assert {point.answers for point in manifest.front} == {0}
    assert manifest.front_measured_by.endswith("as expected from its answers in training")


def test_pictures_that_can_not_be_read_are_one_error(make_trainer, tmp_path):
    class Failing:
        def read(self, image):
            raise OSError

    model = LookingAtWords()
    with pytest.raises(DataError, match="the words of no picture could be read; nothing was sent"):
        make_trainer(model, Failing()).fit(tmp_path)
    assert model.asked == 0


def test_pictures_without_anything_that_may_be_shown_are_one_error(make_trainer, tmp_path):
    class Blind:
        def read(self, image):
            return []

    with pytest.raises(DataError, match=r"no picture has a kind that may be shown\. Nothing was sent"):
        make_trainer(reader=Blind()).fit(tmp_path)


def test_a_limit_on_cost_needs_a_price(dataset):
    with pytest.raises(TrainingError, match="needs the price of tokens"):
        AdmissionTrainer(LookingAtWords(), dataset, AdmissionConfig(max_cost=1.0), reader=KnownWords())


@pytest.mark.parametrize(
    "changes", [{"may_show": ("nams",)}, {"prices": {"all": 1}}, {"prices": {"names": 0}}]
)
def test_settings_that_mean_nothing_are_refused(changes):
    with pytest.raises(ValidationError):
        AdmissionConfig.model_validate(changes)


def test_attributes_need_no_labels(tmp_path):
    save_pages(tmp_path)
    with pytest.raises(DataError, match="labels no private attribute"):
        load_dataset(tmp_path)


def test_metrics_are_written_as_they_come(finished):
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert {row["right"] for row in rows} == {0.0, 1.0}
    assert {row["question"] for row in rows} == {0, 1}
