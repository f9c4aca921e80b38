"""``vpp train`` as a process against the sandbox as another: interrupted, cut off, resumed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import sqlite3
from typing import TYPE_CHECKING

import pytest
import torch
from langchain_openai import ChatOpenAI
from safetensors.torch import load_file

from langchain_vpp.artifact import read_manifest
from langchain_vpp.errors import BudgetExhaustedError, TrainingError
from langchain_vpp.images.codec import decode_image, encode_image
from tests.e2e.commands import wait_until
from tests.e2e.conftest import TINY
from tests.untrained import save_untrained
from trainer import Trainer, TrainerConfig, load_dataset

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.trains, pytest.mark.slow(seconds=60)]

NOWHERE = "http://127.0.0.1:9/v1"


def train(vpp, data, config, out, server, *more, wait: bool = True):
    arguments = ("train", "--data", data, "--model", "sandbox", "--base-url", server.base_url)
    command = vpp.start(*arguments, "--config", config, "--out", out, *more)
    return command.wait() if wait else command


def requests(path: Path) -> list[tuple[str, str]]:
    """Picture and question of every recorded request."""
    pairs = []
    for line in path.read_text().splitlines():
        text, image = json.loads(line)["messages"][0]["content"]
        pairs.append((image["image_url"]["url"], text["text"]))
    return pairs


def ledger_counts(out: Path) -> tuple[int, int]:
    """Queries sent and answered."""
    with sqlite3.connect(out / "ledger.sqlite") as connection:
        return connection.execute("SELECT count(*), count(text) FROM queries").fetchone()


def test_a_run_trains_shows_its_result_and_is_not_overwritten(vpp, data, finished):
    result = json.loads(finished.printed.read_text())
    assert result["seed"] == 1
    assert 0 < result["queries"] <= TINY["max_queries"]
    assert set(result["presets"]) == {"low", "balanced", "high"}
    assert len(result["front"]) == 5
    again = vpp.run(*finished.arguments(data, NOWHERE), "--out", finished.out)
    assert (again.code, again.out) == (2, "")
    assert "holds a run already; nothing was done" in again.error
    inspected = vpp.run("inspect", finished.out, "--json")
    assert json.loads(inspected.out) == result


@pytest.mark.parametrize(("leak", "doubted"), [(0.24, False), (0.45, True)])
def test_a_protector_that_hides_too_little_at_its_most_private_level_is_doubted(vpp, tmp_path, leak, doubted):
    front = [{"level": 1, "leak": leak, "utility": 0.4}, {"level": 0, "leak": 0.8, "utility": 0.9}]
    save_untrained(tmp_path / "artifact", front=front)
    done = vpp.run("inspect", tmp_path / "artifact")
    assert done.code == 0
    assert ("warning: even at level 1 45% of what originals give away is still read" in done.err) == doubted
    others = [line for line in done.err.splitlines() if "warning" in line and "domain" not in line]
    assert bool(others) == doubted


def test_a_server_that_is_killed_ends_the_run_with_4_and_the_run_goes_on_when_it_is_back(
    vpp, data, config, tmp_path
):
    out = tmp_path / "run"
    records = [tmp_path / "before.jsonl", tmp_path / "after.jsonl"]
    with vpp.sandbox(record=records[0]) as server:
        port = int(server.base_url.split(":")[2].split("/")[0])
        command = train(vpp, data, config, out, server, "--seed", 3, wait=False)
        wait_until(lambda: len(records[0].read_bytes().splitlines()) >= 12)
        os.kill(server.pid, signal.SIGKILL)
        stopped = command.wait()
    assert stopped.code == 4
    assert "did not answer" in stopped.error
    assert "then resume" in stopped.error
    sent, answered = ledger_counts(out)
    assert sent == answered >= 12 - TINY["max_concurrency"]
    with vpp.sandbox(record=records[1], port=port) as server:
        done = train(vpp, data, config, out, server, "--seed", 3, "--resume")
        assert server.stats()["repeated"] == 0
    assert done.code == 0
    before, after = (set(requests(record)) for record in records)
    # Only what was on its way when the server died, and so was not answered, was asked again.
    assert len(before & after) == len(before) - answered
    assert ledger_counts(out) == (len(before | after), len(before | after))


def test_ctrl_c_says_how_to_go_on_and_loses_nothing(vpp, data, config, tmp_path):
    out, record = tmp_path / "run", tmp_path / "requests.jsonl"
    with vpp.sandbox(record=record) as server:
        command = train(vpp, data, config, out, server, "--seed", 4, wait=False)
        wait_until(lambda: len(record.read_bytes().splitlines()) >= 6)
        command.signal(signal.SIGINT)
        stopped = command.wait()
        assert stopped.code == 130
        assert "again with --resume" in stopped.error
        sent, answered = ledger_counts(out)
        assert sent == answered == server.stats()["completions"]
        assert train(vpp, data, config, out, server, "--seed", 4, "--resume").code == 0
        assert server.stats()["repeated"] == 0


def test_a_budget_in_money_ends_the_run_with_3_and_a_larger_one_resumes_it(
    vpp, data, config, server, tmp_path
):
    out = tmp_path / "run"
    price = ("--price", "1000,1000", "--seed", 5)
    stopped = train(vpp, data, config, out, server, *price, "--max-cost", 2)
    assert stopped.code == 3
    assert "would exceed the budget of $2 " in stopped.error
    assert "larger --max-cost" in stopped.error
    repeated = server.stats()["repeated"]
    done = train(vpp, data, config, out, server, *price, "--max-cost", 100, "--resume", "--json")
    assert done.code == 0
    assert json.loads(done.out)["cost_usd"] > 2
    assert server.stats()["repeated"] == repeated


def test_a_run_is_not_resumed_with_other_settings(vpp, data, finished, tmp_path):
    shutil.copytree(finished.out, tmp_path / "run")
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    other = vpp.run(*finished.arguments(data, NOWHERE), "--out", tmp_path / "run", "--resume", "--seed", 7)
    assert other.code == 2
    assert "belongs to other settings, data or chat model; nothing was done" in other.error
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_no_request_of_a_training_run_holds_an_original(data, finished):
    originals = set()
    files = set()
    for path in (data / "images").iterdir():
        files.add(path.read_bytes())
        picture = decode_image(path.read_bytes())
        originals |= {picture.tobytes(), decode_image(encode_image(picture)).tobytes()}
        files.add(encode_image(picture))
    sent = requests(finished.requests)
    assert len(sent) > 20
    for url, _ in sent:
        encoded = base64.b64decode(url.partition(",")[2])
        assert encoded not in files
        assert decode_image(encoded).tobytes() not in originals


class InterruptedByTestError(Exception):
    pass


def stop_at(phase, step):
    def on_progress(progress):
        if (progress.phase, progress.step) == (phase, step):
            raise InterruptedByTestError

    return on_progress


def trainer(data, server, **settings):
    torch.set_num_threads(1)
    model = ChatOpenAI(base_url=server.base_url, api_key="sandbox", model="sandbox")
    return Trainer(model, load_dataset(data), TrainerConfig.model_validate(TINY | settings))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"validations": 2, "patience": 2},
        {"estimator": "rgf", "zeroth_order": {"directions": 2}},
        {"estimator": "spsa-gc", "zeroth_order": {"directions": 1, "images": 2}},
    ],
    ids=["student", "student-validated", "rgf", "spsa-gc"],
)
def test_resumed_run_equals_uninterrupted_run(settings, data, server, tmp_path):
    subject = trainer(data, server, seed=9, **settings)
    subject.fit(tmp_path / "whole")
    pretrained = [] if "estimator" in settings else [("student", 4)]
    stops = [
        ("assessor", 4),
        *pretrained,
        ("protector", 3),
        ("protector", 6),
        ("validation", 2),
        ("protector", 12),
    ]
    if "validations" not in settings:  # otherwise the first front is measured before the end
        stops[-2:] = stops[:-3:-1]
    for stop in stops:
        with pytest.raises(InterruptedByTestError):
            subject.fit(tmp_path / "resumed", resume=True, on_progress=stop_at(*stop))
    subject.fit(tmp_path / "resumed", resume=True)
    for name in ("model.safetensors", "manifest.json"):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    counts = ledger_counts(tmp_path / "resumed")
    assert counts == ledger_counts(tmp_path / "whole")
    assert counts[0] > TINY["validation"] * TINY["max_queries"]


@pytest.mark.parametrize(
    ("estimator", "zeroth_order"),
    [
        ("zo-image", {}),
        ("zo-code", {"radius": 0.1}),
        ("spsa", {"directions": 2, "images": 1, "perturbation": "rademacher"}),
        ("none", {}),
    ],
)
def test_every_estimator_ends_with_a_front_and_presets_within_the_budget(
    estimator, zeroth_order, data, server, tmp_path
):
    settings = {"estimator": estimator, "zeroth_order": zeroth_order, "steps": 10, "validations": 1}
    trainer(data, server, **settings, scalarisation="smooth_tchebycheff").fit(tmp_path)
    manifest = read_manifest(tmp_path)[0]
    assert len(manifest.front) == 5
    assert set(manifest.presets) == {"low", "balanced", "high"}
    assert 0 <= manifest.presets["low"] <= manifest.presets["balanced"] <= 1
    sent, answered = ledger_counts(tmp_path)
    for_fronts = int(TINY["validation"] * TINY["max_queries"])
    assert sent == answered <= (for_fronts if estimator == "none" else TINY["max_queries"])
    assert sent > (0 if estimator == "none" else for_fronts)


def test_two_objectives_are_aggregated_by_their_gradients(data, server, tmp_path):
    pytest.importorskip("torchjd")
    for scalarisation in ("upgrad", "mgda", "weighted_sum"):
        settings = {"scalarisation": scalarisation, "steps": 4, "seed": 12}
        trainer(data, server, **settings).fit(tmp_path / scalarisation)
    weights = {(folder / "model.safetensors").read_bytes() for folder in tmp_path.iterdir()}
    assert len(weights) == 3


def test_the_weights_of_the_best_front_are_kept_and_a_stale_run_ends(data, server, tmp_path, monkeypatch):
    scores = iter([0.2, 0.5, 0.4, 0.3, 0.6])
    monkeypatch.setattr("trainer.training.fronts.hypervolume", lambda _: next(scores))
    settings = {"steps": 24, "validations": 4, "patience": 2, "max_queries": 100, "query_warmup": 0.0}
    trainer(data, server, **settings).fit(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    fronts = [(row["step"], row["hypervolume"]) for row in rows if "hypervolume" in row]
    assert fronts == [(4, 0.2), (9, 0.5), (14, 0.4), (19, 0.3)]
    assert read_manifest(tmp_path)[0].steps == 9
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    artifact = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(artifact[name], value) for name, value in state["best"]["weights"].items())
    last = state["averaged"]
    assert not all(torch.equal(value, last[f"module.{name}"]) for name, value in artifact.items())


def test_a_second_run_in_the_same_folder_is_refused_and_touches_nothing(data, server, tmp_path):
    refusals = []

    def start_another(progress):
        if (progress.phase, progress.step) == ("protector", 7) and not refusals:
            before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
            with pytest.raises(TrainingError, match=r"another run is writing to .*; nothing was done"):
                trainer(data, server, seed=10).fit(tmp_path, resume=True)
            assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
            refusals.append(progress)

    trainer(data, server, seed=10).fit(tmp_path, on_progress=start_another)
    assert len(refusals) == 1


def test_a_budget_too_small_for_the_estimator_is_told_before_anything_is_sent(data, server, tmp_path):
    sent = server.stats()["completions"]
    with pytest.raises(BudgetExhaustedError, match="needs 40 or more for training; nothing was sent"):
        trainer(data, server, estimator="spsa-gc", max_queries=45).fit(tmp_path / "a")
    with pytest.raises(BudgetExhaustedError, match="too small for so many fronts; nothing was sent"):
        trainer(data, server, validations=3).fit(tmp_path / "b")
    assert server.stats()["completions"] == sent


def test_without_pictures_a_resumed_run_keeps_its_budget_and_says_what_it_lost(
    data, server, tmp_path, caplog
):
    subject = trainer(data, server, seed=11, store_images=False)
    with pytest.raises(InterruptedByTestError):
        subject.fit(tmp_path, on_progress=stop_at("protector", 9))
    before = ledger_counts(tmp_path)[0]
    subject.fit(tmp_path, resume=True)
    assert "pictures were not stored" in caplog.text
    assert before < ledger_counts(tmp_path)[0] <= TINY["max_queries"]


def test_a_run_starts_from_an_artifact_and_takes_its_shape(vpp, data, config, server, tmp_path):
    save_untrained(tmp_path / "old", resolution=32)
    settings = {name: value for name, value in TINY.items() if name != "protector"}
    config.write_text(json.dumps(settings | {"steps": 2, "learning_rate": 1e-6}))
    done = train(
        vpp, data, config, tmp_path / "new", server, "--seed", 13, "--start-from", tmp_path / "old", "--json"
    )
    assert done.code == 0
    old, _ = read_manifest(tmp_path / "old")
    new, _ = read_manifest(tmp_path / "new")
    assert new.started_from == old.files["model.safetensors"] == json.loads(done.out)["started_from"]
    before, after = (load_file(tmp_path / folder / "model.safetensors") for folder in ("old", "new"))
    assert max(float((before[name] - after[name]).abs().max()) for name in before) < 1e-4
    config.write_text(json.dumps(TINY))
    refused = train(
        vpp, data, config, tmp_path / "other", server, "--start-from", tmp_path / "old", "--seed", 13
    )
    assert refused.code == 2
    assert "not of the shape" in refused.error
