"""``vpp evaluate --against`` and ``vpp transfer``: another model behind the name, and another name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import TINY
from tests.e2e.providers import TroubledProvider
from trainer.sandbox.drawing.scenes import make_data

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow(seconds=12)

_PAIRS = 45
_CONFIG = TINY | {
    "estimator": "none",
    "steps": 2,
    "pretraining_steps": 2,
    "max_queries": 250,
    "validation": 5 * _PAIRS / 250,
}


@pytest.fixture(scope="module")
def artifact(vpp, data, server, tmp_path_factory) -> Path:
    """A protector that hides next to nothing; its front rests on 45 answers at each of five levels."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "config.json").write_text(json.dumps(_CONFIG))
    done = vpp.run(
        "train", "--data", data, "--model", "sandbox", "--base-url", server.base_url,
        "--config", folder / "config.json", "--out", folder / "run",
    )  # fmt: skip
    assert done.code == 0, done.err
    return folder / "run"


def against(vpp, artifact, data, base_url, out, *more, model="sandbox"):
    return vpp.run(
        "evaluate", "--against", artifact, "--data", data, "--model", model, "--base-url", base_url,
        "--out", out, *more,
    )  # fmt: skip


def test_the_model_of_the_training_has_not_drifted(vpp, artifact, data, server, tmp_path):
    done = against(vpp, artifact, data, server.base_url, tmp_path / "drift.json", "--json")
    assert done.code == 0, done.err
    assert "warning" not in done.err
    assert "may go unseen" in done.err
    report = json.loads(done.out)
    assert report == json.loads((tmp_path / "drift.json").read_text())
    assert report["queries"] == 5 * _PAIRS
    assert report["paid"] > 0
    assert not report["drifted"]
    stated = json.loads((artifact / "manifest.json").read_text())["front"]
    assert [point["manifest"] for point in report["points"]] == [point["utility"] for point in stated]
    for point in report["points"]:
        assert point["answers"] == _PAIRS
        assert point["live"]["value"] == pytest.approx(point["manifest"])


def test_a_model_that_answers_otherwise_is_told_level_by_level_with_exit_code_5(
    vpp, artifact, data, tmp_path
):
    with TroubledProvider({}) as provider:
        done = against(
            vpp, artifact, data, provider.base_url, tmp_path / "drift.json", "--json", model="sandbox:m"
        )
    assert done.code == 5, done.err
    assert done.err.count("warning: at level ") == 5
    assert "the utility has fallen from " in done.err
    report = json.loads(done.out)
    assert report["drifted"]
    assert report["model"] != report["trained_against"]
    assert len(provider.paid) == report["paid"] == len(set(provider.paid))


def test_a_model_that_refuses_has_drifted_and_the_refusals_are_counted(vpp, artifact, data, tmp_path):
    with TroubledProvider({"refuses": 1.0}) as provider:
        done = against(
            vpp, artifact, data, provider.base_url, tmp_path / "drift.json",
            "--queries-per-point", 6, model="sandbox:m",
        )  # fmt: skip
    assert done.code == 5
    assert "6 of 6 answers are refusals" in " ".join(done.err.split())
    assert len(provider.paid) <= 30


def test_a_dry_run_says_what_is_asked_afterwards_and_asks_nothing(vpp, artifact, data, server, tmp_path):
    before = server.stats()["completions"]
    out = tmp_path / "drift.json"
    few = ("--queries-per-point", 5, "--json")
    foreseen = against(vpp, artifact, data, server.base_url, out, *few, "--dry-run")
    assert foreseen.code == 0, foreseen.err
    assert "queries in" in foreseen.err
    assert server.stats()["completions"] == before
    assert list(tmp_path.iterdir()) == []
    done = against(vpp, artifact, data, server.base_url, out, *few)
    assert json.loads(foreseen.out)["sandbox"]["queries"] == json.loads(done.out)["paid"]


def test_a_budget_that_is_too_small_is_refused_before_the_first_query_and_a_larger_one_goes_on(
    vpp, artifact, data, server, tmp_path
):
    before = server.stats()["completions"]
    out = tmp_path / "drift.json"
    few = ("--queries-per-point", 4)
    stopped = against(vpp, artifact, data, server.base_url, out, *few, "--max-queries", 3)
    assert stopped.code == 3
    assert "none of them was sent" in stopped.error
    assert server.stats()["completions"] == before
    assert against(vpp, artifact, data, server.base_url, out, *few, "--max-queries", 20).code == 0
    again = against(vpp, artifact, data, server.base_url, out, *few)
    assert again.code == 2
    assert "what its ledger holds is not asked again" in again.error


def test_drift_is_not_measured_on_other_pictures(vpp, artifact, server, tmp_path):
    make_data(tmp_path / "other", train=20, val=5, test=5, seed=1)
    done = against(vpp, artifact, tmp_path / "other", server.base_url, tmp_path / "drift.json")
    assert done.code == 2
    assert "another data set" in done.error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "a"], "--against asks a chat model"),
        (["--against", "a", "--model", "sandbox", "--seed", 0], "does not go together with --seed"),
        (["--against", "a", "--model", "sandbox", "b"], "does not go together with ARTIFACT"),
        (["--against", "a", "--model", "sandbox", "--query-originals"], "together with --query-originals"),
        ([], "name a protector: a folder of `vpp train`"),
        (["a", "--dry-run"], "--dry-run belongs"),
    ],
)
def test_options_that_do_not_fit_are_refused(vpp, data, tmp_path, arguments, message):
    done = vpp.run("evaluate", "--data", data, "--out", tmp_path / "report.json", *arguments)
    assert done.code == 2
    assert message in done.error


def transfer(vpp, artifact, data, server, out, *more, models=("sandbox", "sandbox:sandbox-b")):
    named = [each for model in models for each in ("--model", model)]
    return vpp.run(
        "transfer", artifact, "--data", data, *named, "--base-url", server.base_url, "--out", out, *more
    )


def test_the_same_pictures_are_shown_to_both_models_and_compared(vpp, artifact, data, server, tmp_path):
    out = tmp_path / "transfer.json"
    few = ("--queries-per-point", 10)
    foreseen = transfer(vpp, artifact, data, server, out, *few, "--dry-run", "--json")
    assert foreseen.code == 0, foreseen.err
    needed = sum(each["queries"] for each in json.loads(foreseen.out).values())
    before = server.stats()["completions"]
    stopped = transfer(vpp, artifact, data, server, out, *few, "--max-queries", needed - 1)
    assert stopped.code == 3
    assert (
        f"to 2 chat models would exceed the budget of {needed - 1} (0 spent); none of them" in stopped.error
    )
    assert server.stats()["completions"] == before
    done = transfer(vpp, artifact, data, server, out, *few, "--json")
    assert done.code == 0, done.err
    assert "sandbox-b" in done.err
    report = json.loads(done.out)
    assert report == json.loads(out.read_text())
    assert [each["model"] for each in report["models"]] == ["ChatOpenAI:sandbox", "ChatOpenAI:sandbox-b"]
    first, second = (each["points"] for each in report["models"])
    assert all(point["lost"] is None for point in first)
    for point, after in zip(first, second, strict=True):
        lost = point["utility"]["value"] - after["utility"]["value"]
        assert after["lost"]["value"] == pytest.approx(lost, abs=1e-5)
    assert report["paid"] == needed == server.stats()["completions"] - before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "sandbox"], "Give --model twice"),
        (["--model", "sandbox", "--model", "sandbox"], "different names"),
        (
            ["--model", "sandbox", "--model", "sandbox:b", "--model", "sandbox:c", "--base-url", "http://x"],
            "once for",
        ),
        (["--model", "sandbox", "--model", "sandbox:b", "--max-cost", 1], "needs the price of tokens"),
    ],
)
def test_a_transfer_that_makes_no_sense_is_refused(vpp, artifact, data, arguments, message):
    common = ("--data", data, "--base-url", "http://127.0.0.1:9/v1", "--out", "refused.json")
    done = vpp.run("transfer", artifact, *common, *arguments)
    assert done.code == 2
    assert message in done.error
