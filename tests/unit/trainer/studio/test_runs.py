"""Folders of runs are read at any moment, and never written to."""

from __future__ import annotations

import json
import os

import pytest

from tests.untrained import save_untrained
from trainer.oracle.ledger import Budget, Ledger, Price
from trainer.oracle.query import Answer, Query
from trainer.studio.runs import Run, compared


def front(step: int, area: float) -> dict:
    return {
        "step": step,
        "hypervolume": area,
        "leak/0": 0.6,
        "utility/0": 0.9,
        "leak/1": 0.1,
        "utility/1": 0.5,
    }


def row(step: int, loss: float) -> dict:
    return {"step": step, "utility_loss": loss, "queries": 2.0 * step}


def write(folder, rows, more: str = "") -> None:
    folder.mkdir(exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows) + more)


def pay(folder, answers: int, *, open_queries: int = 0) -> Ledger:
    """Open a ledger with queries, of which the first ones are answered with less and less certainty."""
    ledger = Ledger(folder / "ledger.sqlite", model="m", price=Price(1.0, 1.0))
    queries = [
        Query(b"picture %d" % number, f"Question {number}?") for number in range(answers + open_queries)
    ]
    ledger.reserve(queries, purpose="train", budget=Budget(100))
    for number, query in enumerate(queries[:answers]):
        likely = {"red": -0.1 * (number + 1), "blue": -1.0}
        ledger.record(query, Answer("red", likely, 100, 10))
    return ledger


def names(folder) -> list[tuple[str, int]]:
    return sorted((path.name, path.stat().st_size) for path in folder.iterdir())


def test_a_run_is_followed_from_before_its_folder_exists_to_its_artifact(tmp_path):
    run = Run(tmp_path / "run", "mine")
    state = run.state()
    assert (state.state, state.step, state.front, state.spending) == ("waiting", 0, (), None)
    write(run.folder, [row(10, 1.0), front(15, 0.3), row(20, 0.5), front(30, 0.4)])
    state = run.state()
    assert (state.state, state.step) == ("training", 30)
    assert state.hypervolumes == ((15, 0.3), (30, 0.4))
    assert state.metrics["utility_loss"] == 0.5
    assert [(spot.leak.value, spot.utility.value) for spot in state.front] == [(0.6, 0.9), (0.1, 0.5)]
    points = ({"level": 0.5, "leak": 0.2, "utility": 0.8, "answers": 40},)
    save_untrained(run.folder, front=points, steps=30, unread=("hair",))
    state = run.state()
    assert state.state == "finished"
    assert [spot.leak.value for spot in state.front] == [0.2]
    assert any("hair" in each for each in state.warnings)


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    write(tmp_path, [row(10, 1.0)], more='{"step": 20, "utility_l')
    assert Run(tmp_path, "mine").state().step == 10


@pytest.mark.parametrize(
    "line", ["[]", "null", '{"step": "x"}', '{"nostep": 1}', '{"step": 20, "hypervolume": NaN}']
)
def test_lines_that_are_none_of_ours_are_left_out(tmp_path, line):
    write(tmp_path, [row(10, 1.0)], more=line + "\n")
    state = Run(tmp_path, "mine").state()
    assert state.metrics["utility_loss"] == 1.0
    assert state.hypervolumes == ()


def test_a_run_that_was_killed_and_resumed_counts_each_step_once(tmp_path):
    before = [row(10, 1.0), front(15, 0.3), row(20, 0.9), front(25, 0.9)]
    again = [row(20, 0.7), front(25, 0.4), row(30, 0.6)]
    write(tmp_path, [*before, again[0]])
    assert Run(tmp_path, "mine").state().hypervolumes == (
        (15, 0.3),
    )  # the step of the other front is not there again
    write(tmp_path, [*before, *again])
    state = Run(tmp_path, "mine").state()
    assert state.hypervolumes == ((15, 0.3), (25, 0.4))
    assert state.metrics["utility_loss"] == 0.6


def test_spending_and_the_least_certain_answers_are_read_while_a_run_writes_and_after_it(tmp_path):
    ledger = pay(tmp_path, 6, open_queries=2)
    before = names(tmp_path)
    busy = Run(tmp_path, "mine").state()
    assert names(tmp_path) == before
    ledger.close()
    before = names(tmp_path)
    done = Run(tmp_path, "mine").state()
    assert names(tmp_path) == before
    for state in (busy, done):
        assert (state.spending.queries, state.spending.answered) == (8, 6)
        assert state.spending.dollars == pytest.approx(6 * 110 / 1e6)
        assert [each.prompt.partition("?")[0] for each in state.critical][:2] == ["Question 5", "Question 4"]
    picture = Run(tmp_path, "mine").picture(busy.critical[0].digest)
    assert picture == b"picture 5"
    assert Run(tmp_path, "mine").picture("0" * 64) is None


def test_a_folder_that_can_not_be_written_is_read(tmp_path):
    pay(tmp_path, 2).close()
    tmp_path.chmod(0o555)
    try:
        assert Run(tmp_path, "mine").state().spending.queries == 2
    finally:
        tmp_path.chmod(0o755)


def test_a_file_that_is_no_ledger_is_no_failure(tmp_path):
    (tmp_path / "ledger.sqlite").write_bytes(b"something else" * 100)
    assert Run(tmp_path, "mine").state().spending is None


def test_a_run_without_news_is_said_to_be_quiet_with_the_way_on(tmp_path):
    write(tmp_path, [row(10, 1.0)])
    pay(tmp_path, 1, open_queries=1).close()
    for path in tmp_path.iterdir():
        os.utime(path, (1, 1))
    state = Run(tmp_path, "mine").state()
    assert state.state == "quiet"
    assert any("--resume" in each for each in state.warnings)
    assert any("1 queries have no answer" in each for each in state.warnings)


def test_runs_are_compared_on_one_plot(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, [front(10, 0.4)])
    states = [Run(tmp_path / name, name).state() for name in ("a", "b", "c")]
    chart = compared(states)
    assert [curve.label for curve in chart.curves] == ["a", "b"]
    assert chart.labels == ()
    assert [label.text for label in compared(states[:1]).labels] == ["0", "1"]
    assert compared(states[2:]) is None


def test_the_page_gets_cards_that_escape_what_a_ledger_says(open_studio, tmp_path):
    write(tmp_path, [row(10, 1.0), front(20, 0.5)])
    with pay(tmp_path, 0) as ledger:
        query = Query(b"picture", "<img src=x onerror=alert(1)>?")
        ledger.reserve([query], purpose="train", budget=Budget(100))
        ledger.record(query, Answer("<script>alert(1)</script>", None, 1, 1))
    browser = open_studio(runs=(tmp_path,))
    assert browser.see("", follow_redirects=False).headers["location"] == "runs"
    compared_card, card = browser.see("runs/cards").json()["cards"]
    assert "<script" not in card["html"]
    assert "<img src=x" not in card["html"]
    assert "polyline" in compared_card["html"]
    assert browser.see(f"runs/0/pictures/{query.image_digest}").content == b"picture"
    for wrong in (
        f"runs/1/pictures/{query.image_digest}",
        "runs/0/pictures/x",
        f"runs/0/pictures/{'0' * 64}",
    ):
        assert browser.see(wrong).status_code == 404
