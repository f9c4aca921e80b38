"""``vpp train`` as a real process against the sandbox as another: killed, interrupted, cut off, resumed."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import sqlite3
import time
from typing import TYPE_CHECKING

import pytest
import torch
from langchain_openai import ChatOpenAI

from langchain_vpp.artifact import read_manifest
from langchain_vpp.pixels import decode_image, encode_image
from tests.e2e.commands import wait_until
from tests.e2e.conftest import TINY
from trainer import Trainer, TrainerConfig, load_dataset
from trainer.sandbox.process import SandboxServer

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 8


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


def test_a_run_trains_shows_its_result_and_is_not_overwritten(vpp, data, config, server, tmp_path):
    done = train(vpp, data, config, tmp_path / "run", server, "--seed", 1, "--json")
    assert done.code == 0
    result = json.loads(done.out)
    assert result["seed"] == 1
    assert 0 < result["queries"] <= TINY["max_queries"]
    assert set(result["presets"]) == {"low", "balanced", "high"}
    assert len(result["front"]) == 5
    again = train(vpp, data, config, tmp_path / "run", server, "--seed", 1)
    assert (again.code, again.out) == (2, "")
    assert "holds a run already; nothing was done" in again.error
    inspected = vpp.run("inspect", tmp_path / "run", "--json")
    assert json.loads(inspected.out) == result


def test_kill_9_at_any_moment_and_resume_pays_nothing_twice(vpp, data, config, tmp_path):
    generator = random.Random(5)
    out = tmp_path / "run"
    record = tmp_path / "requests.jsonl"
    with SandboxServer(record=record) as server:
        received = 0
        for number in range(KILLS):
            command = train(vpp, data, config, out, server, "--seed", 2, "--resume", wait=False)
            if number < 2:  # while it loads or learns without queries
                wait_until((out / "ledger.sqlite").exists)
                time.sleep(generator.uniform(0.05, 0.8))
            else:
                goal = received + generator.randint(1, 9)
                wait_until(lambda goal=goal: len(record.read_bytes().splitlines()) >= goal)
            command.signal(signal.SIGKILL)
            assert command.wait().code == -signal.SIGKILL
            received = len(record.read_bytes().splitlines())
        done = train(vpp, data, config, out, server, "--seed", 2, "--resume")
        assert done.code == 0
        stats = server.stats()
    assert stats["repeated"] == 0
    assert stats["completions"] > KILLS - 2
    sent, _ = ledger_counts(out)
    assert stats["completions"] <= sent <= TINY["max_queries"]
    assert len(set(requests(record))) == len(requests(record))
    assert read_manifest(out)[0].queries == sent


def test_a_server_that_is_killed_ends_the_run_with_4_and_the_run_goes_on_when_it_is_back(
    vpp, data, config, tmp_path
):
    out = tmp_path / "run"
    records = [tmp_path / "before.jsonl", tmp_path / "after.jsonl"]
    with SandboxServer(record=records[0]) as server:
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
    with SandboxServer(record=records[1], port=port) as server:
        done = train(vpp, data, config, out, server, "--seed", 3, "--resume")
        assert server.stats()["repeated"] == 0
    assert done.code == 0
    before, after = (set(requests(record)) for record in records)
    # Only what was on its way when the server died, and so was not answered, was asked again.
    assert len(before & after) == len(before) - answered
    assert ledger_counts(out) == (len(before | after), len(before | after))


def test_ctrl_c_says_how_to_go_on_and_loses_nothing(vpp, data, config, tmp_path):
    out, record = tmp_path / "run", tmp_path / "requests.jsonl"
    with SandboxServer(record=record) as server:
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


def test_a_run_is_not_resumed_with_other_settings(vpp, data, config, server, tmp_path):
    assert train(vpp, data, config, tmp_path / "run", server, "--seed", 6).code == 0
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    other = train(vpp, data, config, tmp_path / "run", server, "--seed", 7, "--resume")
    assert other.code == 2
    assert "belongs to other settings, data or chat model; nothing was done" in other.error
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_no_request_of_a_training_run_holds_an_original(vpp, data, config, tmp_path):
    record = tmp_path / "requests.jsonl"
    with SandboxServer(record=record) as server:
        assert train(vpp, data, config, tmp_path / "run", server, "--seed", 8).code == 0
    originals = set()
    files = set()
    for path in (data / "images").iterdir():
        files.add(path.read_bytes())
        picture = decode_image(path.read_bytes())
        originals |= {picture.tobytes(), decode_image(encode_image(picture)).tobytes()}
        files.add(encode_image(picture))
    sent = requests(record)
    assert len(sent) > 20
    for url, _ in sent:
        encoded = base64.b64decode(url.partition(",")[2])
        assert encoded not in files
        assert decode_image(encoded).tobytes() not in originals


class InterruptedByTestError(Exception):
    pass


def test_resumed_run_equals_uninterrupted_run(data, server, tmp_path):
    torch.set_num_threads(1)
    model = ChatOpenAI(base_url=server.base_url, api_key="sandbox", model="sandbox")
    trainer = Trainer(model, load_dataset(data), TrainerConfig.model_validate(TINY | {"seed": 9}))
    trainer.fit(tmp_path / "whole")

    def stop_at(phase, step):
        def on_progress(progress):
            if (progress.phase, progress.step) == (phase, step):
                raise InterruptedByTestError

        return on_progress

    stops = [
        ("assessor", 4),
        ("student", 7),
        ("protector", 3),
        ("protector", 13),
        ("protector", 24),
        ("validation", 2),
    ]
    for stop in stops:
        with pytest.raises(InterruptedByTestError):
            trainer.fit(tmp_path / "resumed", resume=True, on_progress=stop_at(*stop))
    trainer.fit(tmp_path / "resumed", resume=True)
    for name in ("model.safetensors", "manifest.json"):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert ledger_counts(tmp_path / "resumed") == ledger_counts(tmp_path / "whole")
