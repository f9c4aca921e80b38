"""Bad input ends every command with its exit code and one line, which says what was not done and what to do."""

from __future__ import annotations

import json
import re
import shutil
import socket
import sqlite3

import pytest
from PIL import Image

from tests.untrained import save_untrained

pytestmark = pytest.mark.slow(seconds=30)

SERVER = ("--model", "sandbox", "--base-url", "http://127.0.0.1:9/v1")  # nothing may be sent to it


@pytest.fixture(scope="module")
def folder(vpp, data):
    """The working folder, with all kinds of bad things in it."""
    folder = vpp.folder
    shutil.copytree(data, folder / "data")
    for name in ("artifact", "changed"):
        save_untrained(
            folder / name,
            resolution=32,
            private_attributes={"hair": ("red", "black")},
            presets={"balanced": 0.4},
        )
    weights = bytearray((folder / "changed" / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "changed" / "model.safetensors").write_bytes(weights)
    (folder / "file").write_text("{")
    (folder / "list.json").write_text("[]")
    (folder / "unknown.json").write_text('{"stepps": 3}')
    (folder / "range.json").write_text('{"batch": 0}')

    lines = (data / "data.jsonl").read_text().splitlines()
    picture = (data / "images" / "train-000001.png").read_bytes()
    for name, text in {
        "empty": "",
        "malformed": "\n".join([*lines[:2], lines[2][:-9], *lines[3:]]),
        "missing": "\n".join([*lines, json.dumps(json.loads(lines[0]) | {"image": "images/none.png"})]),
        "corrupt": "\n".join(lines),
    }.items():
        shutil.copytree(data, folder / name)
        (folder / name / "data.jsonl").write_text(text)
    (folder / "corrupt" / "images" / "train-000001.png").write_bytes(picture[: len(picture) // 2])
    rows = [json.loads(line) for line in lines]
    for name, changed in {
        "unlabelled": [row | {"private": {}} for row in rows],
        "unlabelled val": [row | ({"private": {}} if row["split"] == "val" else {}) for row in rows],
        "one class": [row | {"private": {"hair": "red"}} for row in rows],
        "one answer": [row | {"tasks": [{"question": "Is it drawn?", "answer": "yes"}]} for row in rows],
        "no choice": [*rows[:4], rows[4] | {"tasks": [rows[4]["tasks"][0] | {"answer": "mauve"}]}, *rows[5:]],
        "copies": [*rows, rows[0] | {"image": "images/copy.png", "split": "test"}],
        "corrupt val": rows,
    }.items():
        shutil.copytree(data, folder / name)
        (folder / name / "data.jsonl").write_text("\n".join(map(json.dumps, changed)))
    shutil.copy(data / rows[0]["image"], folder / "copies" / "images" / "copy.png")
    (folder / "corrupt val" / "images" / "val-000001.png").write_bytes(picture[: len(picture) // 2])
    with sqlite3.connect(folder / "newer.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    with sqlite3.connect(folder / "notes.sqlite") as connection:
        connection.execute("CREATE TABLE notes (text)")
    (folder / "cut.png").write_bytes(picture[: len(picture) // 2])
    (folder / "text.jpg").write_text("no picture")
    (folder / "good.png").write_bytes(picture)
    (folder / "nothing").mkdir()
    return folder


def train(*arguments, data="data"):
    return ("train", "--data", data, "--out", "run", *SERVER, *arguments)


CASES = {
    "no data folder": (2, ("train", "--data", "none", "--out", "run", *SERVER), "none/data.jsonl could not be read"),
    "empty data": (2, ("train", "--data", "empty", "--out", "run", *SERVER), "no image in train, val, test"),
    "malformed line": (2, ("train", "--data", "malformed", "--out", "run", *SERVER), "line 3: not JSON.*Correct"),
    "missing image": (2, ("train", "--data", "missing", "--out", "run", *SERVER), "line 61: there is no image"),
    "corrupt image": (
        2,
        ("train", "--data", "corrupt", "--out", "run", *SERVER),
        r"train-000001\.png can't be used.*Replace the file",
    ),
    "corrupt validation image": (2, train(data="corrupt val"), r"val-000001\.png can't be used.*Replace the file"),
    "no private label": (2, train(data="unlabelled"), "labels no private attribute, so there is nothing to hide"),
    "no private label on val": (2, train(data="unlabelled val"), "two classes of train on val.*nothing was trained"),
    "one class": (2, train(data="one class"), "'hair' has one class only in train"),
    "one answer": (2, train(data="one answer"), r"'Is it drawn\?' has one possible answer only.*nothing was trained"),
    "answer that fits no choice": (2, train(data="no choice"), "line 5: tasks.0: .*none of the choices"),
    "a picture in two splits": (2, train(data="copies"), "line 61: the picture of line 1, which is in train, again in"),
    "a dry run on bad data": (2, train("--dry-run", data="one class"), "'hair' has one class only"),
    "a dry run of no model": (2, train("--dry-run", "--model", "gpt-4o-mini"), "is no model. Write provider:name"),
    "ledger of a newer schema": (2, train("--ledger", "newer.sqlite"), "schema 99; this version reads .*another file"),
    "ledger that is a database of something else": (2, train("--ledger", "notes.sqlite"), "of something else"),
    "ledger that is no database": (2, train("--ledger", "good.png"), "good.png could not be opened: .*not a database"),
    "log-probabilities of several questions": (
        2,
        train("--access", "logprobs", "--questions-per-call", 2),
        "no log-probabilities of their own; nothing was sent",
    ),
    "no questions per call": (2, train("--questions-per-call", 0), "questions_per_call: "),
    "no requests per second": (2, train("--requests-per-second", 0), "requests_per_second: "),
    "evaluate with a cost and no price": (
        2,
        ("evaluate", "artifact", "--data", "data", "--out", "report.json", *SERVER, "--max-cost", 1),
        "needs the price of tokens. Give --price",
    ),
    "evaluate with no cost": (
        2,
        ("evaluate", "artifact", "--data", "data", "--out", "report.json", *SERVER, "--price", "1,1", "--max-cost", 0),
        "--max-cost must be above 0",
    ),
    "model without provider": (2, train("--model", "gpt-4o-mini"), "'gpt-4o-mini' is no model. Write provider:name"),
    "model without name": (2, train("--model", "openai:"), "is no model"),
    "unknown provider": (2, train("--model", "nosuch:model"), "'nosuch:model' can't be set up"),
    "provider without key": (2, train("--model", "openai:gpt-4o-mini"), "can't be set up.*API key"),
    "sandbox without address": (
        2,
        ("train", "--data", "data", "--out", "run", "--model", "sandbox"),
        "needs --base-url; `vpp sandbox serve` prints it",
    ),
    "budget 0": (3, train("--max-queries", 0), "budget of 0 queries.*nothing was sent.*--max-queries"),
    "budget below 0": (2, train("--max-queries", -1), "max_queries: .*greater than or equal to 0"),
    "cost without price": (2, train("--max-cost", 1), "needs the price of tokens; nothing was sent"),
    "price of one number": (2, train("--price", "1"), "--price must be two numbers"),
    "price of words": (2, train("--price", "a,b"), "--price must be two numbers"),
    "no steps": (2, train("--steps", 0), "steps: "),
    "no settings file": (2, train("--config", "none.json"), "none.json could not be used: No such file"),
    "settings that are no JSON": (2, train("--config", "file"), "file is not a JSON object"),
    "settings that are a list": (2, train("--config", "list.json"), "list.json is not a JSON object"),
    "unknown setting": (2, train("--config", "unknown.json"), "stepps"),
    "setting out of range": (2, train("--config", "range.json"), "batch: .*2"),
    "run folder that can't be made": (
        2,
        ("train", "--data", "data", "--out", "file/run", *SERVER),
        "could not be opened.*a folder that can be written",
    ),
    "inspect nothing": (2, ("inspect", "none"), "there is no artifact folder"),
    "inspect a changed byte": (2, ("inspect", "changed"), "sha256 differs.*Get the artifact again"),
    "protect with a changed byte": (
        2,
        ("protect", "good.png", "--artifact", "changed", "--out", "out"),
        "sha256 differs",
    ),
    "protect with no artifact": (
        2,
        ("protect", "good.png", "--artifact", "none", "--out", "out"),
        "there is no artifact folder",
    ),
    "an unknown attack": (
        2,
        ("evaluate", "artifact", "--data", "data", "--out", "report.json", "--attack", "magic"),
        "there is no attack 'magic'",
    ),
    "protect with both": (
        2,
        ("protect", "good.png", "--artifact", "artifact", "--engine", "blur", "--out", "out"),
        "give either",
    ),
    "level out of range": (
        2,
        ("protect", "good.png", "--engine", "blur", "--level", 1.5, "--out", "out"),
        "--level must be a number from 0 to 1.$",
    ),
    "level that is not a number": (
        2,
        ("protect", "good.png", "--engine", "blur", "--level", "nan", "--out", "out"),
        "--level must be",
    ),
    "unknown preset": (
        2,
        ("protect", "good.png", "--artifact", "artifact", "--level", "most", "--out", "out"),
        "or one of balanced",
    ),
    "protect a cut picture": (
        2,
        ("protect", "cut.png", "--engine", "blur", "--out", "out"),
        "cut.png was not protected: .*cut off, corrupt",
    ),
    "protect a text": (2, ("protect", "text.jpg", "--engine", "blur", "--out", "out"), "text.jpg was not protected"),
    "protect a missing file": (2, ("protect", "none.png", "--engine", "blur", "--out", "out"), "there is no such file"),
    "protect an empty folder": (2, ("protect", "nothing", "--engine", "blur", "--out", "out"), "there is no picture"),
    "protect to a file": (
        2,
        ("protect", "good.png", "--engine", "blur", "--out", "file"),
        "good.png was not protected: file.*(File exists|Not a directory)",
    ),
    "make data in a full folder": (2, ("sandbox", "make-data", "data"), "No data was made.*not empty"),
    "make data in a file": (2, ("sandbox", "make-data", "file/data"), "can't be written"),
    "make no data": (2, ("sandbox", "make-data", "new", "--train", 0, "--val", 0, "--test", 0), "No data was made"),
    "record to no folder": (2, ("sandbox", "serve", "--port", 0, "--record", "none/x"), "not served: none/x: No such"),
    "evaluate nothing": (2, ("evaluate", "none", "--data", "data", "--out", "report.json"), "there is no artifact"),
    "evaluate without data": (2, ("evaluate", "artifact", "--data", "none", "--out", "report.json"), "could not be"),
    "evaluate into a folder": (2, ("evaluate", "artifact", "--data", "data", "--out", "data"), "data is a folder"),
    "evaluate below a file": (2, ("evaluate", "artifact", "--data", "data", "--out", "file/r.json"), "file could not"),
    "evaluate with unknown settings": (
        2,
        ("evaluate", "artifact", "--data", "data", "--config", "unknown.json", "--out", "report.json"),
        "stepps",
    ),
    "demo in another folder": (2, ("demo", "--smoke", "--out", "data"), "data holds other things.*another --out"),
    "demo in a file": (2, ("demo", "--smoke", "--out", "file/demo"), "nothing was done: .*can't be used"),
}  # fmt: skip


@pytest.mark.parametrize(("code", "arguments", "message"), CASES.values(), ids=CASES)
def test_bad_input(vpp, folder, code, arguments, message):
    before = {path.name for path in folder.iterdir()}
    done = vpp.run(*arguments)
    assert re.search(message, done.error), done.error
    assert (done.code, done.out) == (code, "")
    new = {name for name in {path.name for path in folder.iterdir()} - before if not name.startswith("std")}
    assert new <= {"run"}  # the ledger's folder, if it came so far
    shutil.rmtree(folder / "run", ignore_errors=True)


def test_a_port_that_is_taken_is_reported(vpp, folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = vpp.run("sandbox", "serve", "--port", taken.getsockname()[1])
    assert done.code == 2
    assert "was not served: " in done.error


def test_a_server_that_is_down_ends_the_run_with_4(vpp, folder, config):
    done = vpp.run(*train("--config", config, "--steps", 4))
    assert done.code == 4
    assert "did not answer" in done.error
    assert "then resume" in done.error
    shutil.rmtree(folder / "run")


def test_debug_shows_the_traceback(vpp, folder):
    done = vpp.run("--debug", "inspect", "none")
    assert done.code == 1
    assert "Traceback" in done.err
    assert "ArtifactError" in done.err


@pytest.mark.parametrize(
    "arguments", [("trian",), ("train", "--data"), ("protect", "--engine", "grey"), ("train",)]
)
def test_a_command_that_is_misspelt_is_explained(vpp, folder, arguments):
    done = vpp.run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "Traceback" not in done.err


def test_images_of_mixed_sizes_are_trained_on_one_canvas_and_protected_at_their_own_size(
    vpp, data, config, server, tmp_path
):
    shutil.copytree(data, tmp_path / "mixed")
    shapes = [(64, 64), (40, 64), (64, 24), (200, 100)]
    for number, path in enumerate(sorted((tmp_path / "mixed" / "images").iterdir())):
        image = Image.open(path).convert("RGB").resize(shapes[number % 4])
        image.save(path)
    run = tmp_path / "run"
    served = ("--model", "sandbox", "--base-url", server.base_url)
    done = vpp.run("train", "--data", tmp_path / "mixed", "--config", config, "--out", run, *served)
    assert done.code == 0, done.err
    Image.new("RGB", (200, 100), (9, 9, 9)).save(tmp_path / "wide.png")
    done = vpp.run("protect", tmp_path / "wide.png", "--artifact", run, "--out", tmp_path / "protected")
    assert done.code == 0, done.err
    assert Image.open(tmp_path / "protected" / "wide.jpg").size == (200, 100)


def test_a_ledger_of_another_run_is_refused_on_resuming_and_nothing_is_lost(
    vpp, data, config, server, tmp_path
):
    run = tmp_path / "run"
    arguments = ("train", "--data", data, "--config", config, "--out", run)
    served = ("--model", "sandbox", "--base-url", server.base_url)
    stopped = vpp.run(*arguments, *served, "--price", "1000,1000", "--max-cost", 2)
    assert stopped.code == 3
    before = (run / "ledger.sqlite").read_bytes()
    refused = vpp.run(*arguments, *served, "--resume", "--ledger", tmp_path / "another.sqlite")
    assert refused.code == 2
    assert "does not hold the answer" in refused.error
    assert "belongs to another run" in refused.error
    assert (run / "ledger.sqlite").read_bytes() == before
    assert vpp.run(*arguments, *served, "--resume").code == 0
