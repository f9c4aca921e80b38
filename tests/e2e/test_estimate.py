"""What a run would ask and cost is said before the first query, and alone with ``--dry-run``."""

from __future__ import annotations

import json
import shutil

import pytest

from langchain_vpp.artifact import read_manifest
from tests.e2e.conftest import TINY

pytestmark = pytest.mark.slow(seconds=25)


def test_a_dry_run_says_what_would_be_asked_and_sends_nothing(vpp, data, config, tmp_path):
    with vpp.sandbox(record=tmp_path / "requests.jsonl") as server:
        arguments = ("--data", data, "--config", config, "--model", "sandbox", "--base-url", server.base_url)
        done = vpp.run(
            "train", *arguments, "--out", tmp_path / "run", "--price", "1,2", "--dry-run", "--json"
        )
        assert server.stats()["completions"] == 0
    assert (tmp_path / "requests.jsonl").read_bytes() == b""
    assert done.code == 0
    assert not (tmp_path / "run").exists()
    foreseen = json.loads(done.out)
    assert foreseen["queries"] == TINY["max_queries"]
    assert foreseen["cost"] > 0
    assert f"estimate: at most {foreseen['queries']} queries" in done.err
    assert "your price of $1 and $2" in done.err


def test_a_dry_run_needs_no_key_and_names_the_list_price(vpp, data, config, tmp_path):
    arguments = ("--data", data, "--config", config, "--out", tmp_path / "run", "--dry-run")
    done = vpp.run("train", *arguments, "--model", "openai:gpt-4o-mini")
    assert (done.code, done.out) == (0, "")
    assert "about $" in done.err
    assert "may be out of date: see https://" in done.err
    assert "an unknown cost" in vpp.run("train", *arguments, "--model", "ollama:llava").err


def test_a_file_with_settings_of_the_last_version_works_and_names_the_new_names(vpp, data, tmp_path):
    settings = tmp_path / "old.json"
    settings.write_text(json.dumps(TINY | {"averaging": 0.9, "plainness": 0.1, "quiet": 0.5}))
    arguments = ("train", "--data", data, "--config", settings, "--out", tmp_path / "run", "--dry-run")
    done = vpp.run(*arguments, "--model", "sandbox")
    assert done.code == 0
    assert "averaging is now ema_decay" in done.err
    assert "quiet is now query_warmup; the old name goes with version 0.3" in done.err


def test_a_dry_run_says_what_is_bad_about_the_data(vpp, data, config, tmp_path):
    images = shutil.copytree(data / "images", tmp_path / "data")
    lines = [json.loads(line) for line in (data / "data.jsonl").read_text().splitlines()]
    for line in lines:
        line["image"] = (data / line["image"]).name
        line["private"]["sign"] = line["tasks"][1]["answer"]
    (images / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    arguments = ("--config", config, "--out", tmp_path / "run", "--dry-run", "--model", "sandbox")
    done = vpp.run("train", "--data", images, *arguments)
    assert done.code == 0
    assert "tells 'sign' right for 100% of the images of val" in done.err


def test_a_run_says_the_same_before_its_first_query_and_what_came_back_after_its_last(
    vpp, data, finished, tmp_path
):
    arguments = finished.arguments(data, "http://127.0.0.1:9/v1")
    foreseen = vpp.run(*arguments, "--out", tmp_path / "run", "--dry-run").err.strip()
    told = finished.told.read_text()
    assert told.startswith(foreseen)
    assert f"answers: {len(finished.requests.read_bytes().splitlines())} usable." in told


def test_runs_that_share_a_ledger_pay_once_and_their_pictures_may_stay_out_of_it(vpp, data, config, tmp_path):
    shared = tmp_path / "shared.sqlite"
    with vpp.sandbox() as server:
        arguments = ("--data", data, "--config", config, "--model", "sandbox", "--base-url", server.base_url)
        both = [
            vpp.start("train", *arguments, "--out", tmp_path / name, "--ledger", shared, "--no-store-images")
            for name in ("first", "second")
        ]
        assert [command.wait().code for command in both] == [0, 0]
        stats = server.stats()
    assert stats["repeated"] == 0
    assert 0 < stats["completions"] <= TINY["max_queries"]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("first", "second")]
    assert weights[0] == weights[1]  # neither missed an answer that the other one paid
    on_disk = b"".join(path.read_bytes() for path in tmp_path.glob("shared.sqlite*"))
    assert b"JFIF" not in on_disk
    assert list(tmp_path.glob("shared.sqlite.*.lock")) == []


def test_a_run_stores_its_pictures_if_it_is_not_told_otherwise(finished):
    assert b"JFIF" in (finished.out / "ledger.sqlite").read_bytes()


def test_an_evaluation_stops_at_its_limit_on_cost_with_everything_saved(vpp, data, finished, tmp_path):
    report = tmp_path / "report.json"
    settings = tmp_path / "evaluation.json"
    few = {
        "levels": [0.5],
        "baselines": {"blur": [0.5]},
        "train_images": 20,
        "classifiers": ["small"],
        "cold": [],
    }
    settings.write_text(json.dumps(few))
    with vpp.sandbox() as server:
        served = ("--model", "sandbox", "--base-url", server.base_url)
        arguments = (
            *(finished.out, "--data", data, "--out", report, "--config", settings),
            *(*served, "--price", "1000,1000"),
        )
        stopped = vpp.run("evaluate", *arguments, "--max-cost", 2)
        paid = server.stats()["completions"]
        assert stopped.code == 3
        assert "would exceed the budget of $2 " in stopped.error
        assert not report.exists()
        assert 0 < paid * 0.12 < 2
        stats = server.stats()
        vpp.run(
            "evaluate", *arguments, "--max-cost", 100
        )  # goes on to the end; so little data give no report
        after = server.stats()
    # There are 100 questions; pictures that are covered whole look alike, and are asked about once.
    assert 0 < after["completions"] - stats["completions"] <= 100 - paid
    assert after["repeated"] == stats["repeated"]


def test_several_questions_per_request_pay_a_picture_once_and_are_all_answered(vpp, data, config, tmp_path):
    what = ("--data", data, "--config", config, "--model", "sandbox", "--questions-per-call", 2, "--seed", 3)
    with vpp.sandbox() as server:
        provider = ("--base-url", server.base_url, "--out", tmp_path / "run")
        foreseen = vpp.run("train", *what, *provider, "--dry-run", "--json")
        done = vpp.run("train", *what, *provider)
        stats = server.stats()
    assert done.code == 0, done.err
    asked = read_manifest(tmp_path / "run")[0].queries
    assert f"answers: {asked} usable." in done.err
    assert stats["distinct"] == asked
    assert stats["completions"] <= 0.75 * asked
    assert stats["completions"] <= json.loads(foreseen.out)["requests"]
