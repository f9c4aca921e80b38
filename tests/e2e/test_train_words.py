"""``vpp train --engine words``: options, the estimate, and a run with the reader that comes with the extra."""

from __future__ import annotations

import json
import sqlite3

import pytest
from PIL import Image, ImageDraw, ImageFont

NOWHERE = "http://127.0.0.1:9/v1"


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """Three letters with a total; labels of private attributes are missing."""
    folder, lines = tmp_path_factory.mktemp("letters"), []
    for number, split in enumerate(("train", "val", "test")):
        total = f"${number + 2}40.50"
        image = Image.new("RGB", (200, 200), "white")
        font = ImageFont.load_default(20)
        ImageDraw.Draw(image).text((20, 80), f"Total: {total}", fill="black", font=font)
        image.save(folder / f"{number}.png")
        tasks = [{"question": "What is the total?", "answer": total}]
        lines.append({"image": f"{number}.png", "split": split, "tasks": tasks})
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def words(vpp, letters, *more, base_url=NOWHERE, model="sandbox:sandbox-screens"):
    served = ("--model", model, "--base-url", base_url)
    return vpp.run("train", "--engine", "words", "--data", letters, *served, *more)


def test_a_dry_run_says_what_is_shown_and_counts_and_sends_nothing(vpp, letters, tmp_path):
    out = ("--out", tmp_path / "run", "--max-queries", 30)
    done = words(vpp, letters, *out, "--may-show", "names", "--price", "1,2", "--dry-run", "--json")
    assert done.code == 0
    assert json.loads(done.out)["queries"] == 30
    assert "sees, on pictures of train and val: words, numbers, amounts, dates, names." in done.err
    assert "it never sees: companies, addresses, " in done.err
    assert "estimate: at most 30 queries" in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "match"),
    [
        (("--steps", 5), "takes no --steps"),
        (("--access", "logprobs"), "takes no --access"),
        (("--start-from", "staff-cards"), "takes no --start-from"),
        (("--may-show", "nams"), "there are no kinds nams; there are words, "),
        (("--max-cost", 1), "a limit on cost needs the price of tokens"),
        (("--max-queries", 1), "a budget of 1 queries is too small"),
    ],
)
def test_bad_options_are_one_line_and_nothing_is_sent(vpp, letters, tmp_path, more, match):
    done = words(vpp, letters, "--out", tmp_path / "run", *more)
    assert done.code == (3 if "budget" in match else 2)
    assert match in done.error


def test_may_show_needs_the_engine_of_words(vpp, letters, tmp_path):
    done = vpp.run("train", "--data", letters, "--model", "sandbox", "--out", tmp_path, "--may-show", "names")
    assert (done.code, "--may-show needs --engine words" in done.error) == (2, True)


@pytest.mark.slow(seconds=8)
def test_a_run_with_the_real_reader_stops_for_money_and_ends_when_resumed(vpp, letters, tmp_path):
    out = tmp_path / "run"
    options = ("--out", out, "--max-queries", 6, "--price", "1,1", "--json")
    with vpp.sandbox() as server:
        stopped = words(vpp, letters, *options, "--max-cost", 1e-4, base_url=server.base_url)
        assert (stopped.code, "resume with a larger --max-cost" in stopped.error) == (3, True)
        assert "holds a run already" in words(vpp, letters, *options, base_url=server.base_url).error
        done = words(vpp, letters, *options, "--resume", base_url=server.base_url)
        assert server.stats()["repeated"] == 0
    assert done.code == 0, done.err
    manifest = json.loads(done.out)
    assert manifest["engine"] == "words"
    # An answer in a token counts, since it is restored: what the amount says is not needed.
    assert manifest["needs"] == {"What is the total?": ["words"]}
    with sqlite3.connect(out / "ledger.sqlite") as connection:
        counts = connection.execute("SELECT count(*), count(text) FROM queries").fetchone()
    assert counts == (manifest["queries"], manifest["queries"])
    assert json.loads(vpp.run("inspect", out, "--json").out) == manifest
