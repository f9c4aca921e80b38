"""``vpp doctor`` looks at everything, says what to do, shows no secret, and has an exit code."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from langchain_vpp.cli import checkup
from langchain_vpp.cli.app import app


def run(*arguments):
    return CliRunner().invoke(app, ["doctor", *arguments])


def findings(done):
    return {each["what"]: each for each in json.loads(done.stdout)}


@pytest.fixture
def bare(monkeypatch):
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "LANGSMITH_TRACING"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


def test_a_sound_installation_has_no_failure(bare):
    done = run("--json")
    assert done.exit_code == 0, done.stderr
    found = findings(done)
    assert {"python", "langchain-vpp", "shipped protector", "fonts", "temporary files", "proxies"} <= set(
        found
    )
    assert all(each["state"] == "ok" or each["remedy"] for each in found.values())
    assert "installed: " in found["extra train"]["told"]
    assert "0 failed" in done.stderr


def test_every_extra_says_what_it_gives():
    extras = set(checkup._requirements()) - checkup._TOOLS - {""}
    assert extras <= set(checkup.GIVES)


def test_a_missing_extra_names_its_command_and_half_an_extra_is_doubtful(bare):
    bare.setattr(checkup, "_version", lambda name: None if name in {"pypdfium2", "wordfreq"} else "1")
    found = {each.what: each for each in checkup.check_installation()}
    documents, words = found["extra documents"], found["extra words"]
    assert (documents.state, documents.remedy) == ("ok", "pip install 'langchain-vpp[documents]'")
    assert (words.state, words.told.partition(" missing")[0]) == ("warn", "wordfreq")
    assert found["packages"].state == "warn"  # both packages of OpenCV are said to be there


def test_the_surroundings_are_judged_and_no_secret_is_shown(bare):
    bare.setenv("HTTPS_PROXY", "http://user:hunter2@proxy.example:8080")
    bare.setenv("HTTP_PROXY", "proxy without a scheme")
    bare.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    bare.setenv("LANGSMITH_TRACING", "true")
    bare.setenv("OPENAI_API_KEY", "sk-hunter2")
    done = run("--json")
    assert done.exit_code == 2
    shown = [(each["what"], each["state"]) for each in json.loads(done.stdout)]
    assert {("proxies", "ok"), ("proxies", "fail"), ("proxies", "warn"), ("certificates", "fail")} <= set(
        shown
    )
    assert ("tracing", "warn") in shown
    assert "hunter2" not in done.output
    assert "OPENAI_API_KEY" in done.stdout


@pytest.mark.parametrize(("free", "state"), [(10, "fail"), (10**9, "warn"), (10**12, "ok")])
def test_the_disk_is_judged(bare, tmp_path, free, state):
    bare.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert checkup._look_at_folder("this folder", tmp_path).state == state


def test_a_folder_that_can_not_be_written_fails(tmp_path):
    found = checkup._look_at_folder("this folder", tmp_path / "nowhere")
    assert (found.state, found.remedy) == ("fail", "choose another, as with TMPDIR")


def test_a_data_set_is_checked_with_its_lines(bare, tmp_path):
    (tmp_path / "data.jsonl").write_text('{"image": 7}\n')
    done = run("--data", str(tmp_path), "--json")
    assert done.exit_code == 2
    told = [each["told"] for each in json.loads(done.stdout) if each["what"] == "data"]
    assert told[-1].startswith("line 1: ") or any(each.startswith("line 1: ") for each in told)
    assert findings(run("--data", str(tmp_path / "nothing"), "--json"))["data"]["state"] == "fail"


def test_a_model_that_can_not_be_set_up_fails_with_its_reason(bare):
    found = findings(run("--model", "nonsense", "--json"))["model"]
    assert found["state"] == "fail"
    assert "'nonsense' is no model" in found["told"]


def test_brackets_of_extras_are_shown(bare):
    bare.setattr(checkup, "_version", lambda name: None if name == "pypdfium2" else "1")
    assert "langchain-vpp[documents]" in run().stderr.replace("\n", "").replace(" ", "").replace("│", "")
