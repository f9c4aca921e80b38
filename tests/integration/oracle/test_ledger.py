"""The ledger on real files: durable, at most once, within the budget."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest

from langchain_vpp.errors import BudgetExhaustedError, LedgerError
from trainer.oracle.ledger import Budget, Ledger, Price
from trainer.oracle.query import Answer, Query

PLENTY = Budget(10_000)


def query(number: int, question: str = "What colour is the sign?") -> Query:
    return Query(f"image {number}".encode(), question, ("red", "blue"))


def reserve(ledger: Ledger, *numbers: int, budget: Budget = PLENTY):
    return ledger.reserve([query(number) for number in numbers], purpose="train", budget=budget)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    with Ledger(path, model="m") as opened:
        yield opened


def test_a_recorded_answer_is_given_back_and_not_asked_again(ledger):
    answer = Answer("red", {"red": -0.1, "blue": -2.5}, 12, 1)
    assert reserve(ledger, 1).new == [query(1)]
    ledger.record(query(1), answer)
    again = reserve(ledger, 1)
    assert again == ({ledger.key(query(1)): answer}, [], set(), set())
    assert ledger.lookup(ledger.key(query(1))) == (b"image 1", answer)
    assert ledger.spent() == (1, 0.0)


def test_an_empty_answer_is_an_answer(ledger):
    reserve(ledger, 1)
    ledger.record(query(1), Answer(""))
    assert reserve(ledger, 1).answered[ledger.key(query(1))].text == ""


def test_equal_queries_are_one(ledger):
    assert reserve(ledger, 1, 1, 2).new == [query(1), query(2)]
    assert ledger.spent()[0] == 2


@pytest.mark.parametrize(
    "other",
    [
        query(2),
        query(1, "Another question?"),
        query(1)._replace(choices=("red",)),
        query(1)._replace(choices=()),
    ],
    ids=["picture", "question", "choices", "no choices"],
)
def test_whatever_is_sent_is_part_of_the_key(ledger, other):
    assert ledger.key(other) != ledger.key(query(1))


def test_answers_of_another_model_are_not_used(path, ledger):
    reserve(ledger, 1)
    ledger.record(query(1), Answer("red"))
    with Ledger(path, model="another") as other:
        assert reserve(other, 1).new == [query(1)]
        with pytest.raises(LedgerError, match="does not hold"):
            other.lookup(other.key(query(1)))


def test_a_query_that_was_sent_and_never_answered_is_lost_but_counts(path, ledger):
    reserve(ledger, 1)
    ledger.close()
    with Ledger(path, model="m") as later:
        reservation = reserve(later, 1, 2)
        assert reservation.lost == {later.key(query(1))}
        assert reservation.new == [query(2)]
        assert later.spent()[0] == 2


def test_a_released_query_may_be_asked_again_and_an_answered_one_is_never_released(ledger):
    reserve(ledger, 1, 2)
    ledger.record(query(1), Answer("red"))
    ledger.release([query(1), query(2)])
    assert ledger.spent()[0] == 1
    assert reserve(ledger, 1, 2).new == [query(2)]


def test_the_budget_is_checked_before_anything_is_written(ledger):
    reserve(ledger, 1, 2, budget=Budget(3))
    with pytest.raises(BudgetExhaustedError, match=r"2 more queries .* budget of 3 \(2 spent\)"):
        reserve(ledger, 3, 4, budget=Budget(3))
    assert ledger.spent()[0] == 2
    assert reserve(ledger, 3, budget=Budget(3)).new == [query(3)]
    assert reserve(ledger, 1, 2, 3, budget=Budget(0)).new == []  # known ones are free


def test_a_limit_on_cost_is_checked_with_the_mean_cost_so_far(path):
    with Ledger(path, model="m", price=Price(1.0, 10.0)) as ledger:
        reserve(ledger, 1)
        ledger.record(query(1), Answer("red", None, 900_000, 10_000))
        assert ledger.spent() == (1, pytest.approx(1.0))
        assert reserve(ledger, 2, budget=Budget(100, 2.5)).new == [query(2)]
        ledger.record(query(2), Answer("red", None, 900_000, 10_000))
        with pytest.raises(BudgetExhaustedError, match=r"\$2.5 \(\$2.0000 spent\)"):
            reserve(ledger, 3, budget=Budget(100, 2.5))


def test_nothing_is_charged_without_a_price(ledger):
    reserve(ledger, 1)
    ledger.record(query(1), Answer("red", None, 10**6, 10**6))
    assert ledger.spent() == (1, 0.0)


def test_what_was_recorded_survives_kill_9(path):
    script = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from trainer.oracle.ledger import Budget, Ledger\nfrom trainer.oracle.query import Answer, Query\n"
        "ledger = Ledger(Path(sys.argv[1]), model='m')\n"
        "question = 'What colour is the sign?', ('red', 'blue')\n"
        "queries = [Query(f'image {i}'.encode(), *question) for i in range(20)]\n"
        "ledger.reserve(queries, purpose='train', budget=Budget(100))\n"
        "for query in queries[:7]:\n    ledger.record(query, Answer('red', {'red': -0.5}))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    with Ledger(path, model="m") as ledger:
        reservation = reserve(ledger, *range(20))
        assert set(reservation.answered) == {ledger.key(query(number)) for number in range(7)}
        assert all(answer.logprobs == {"red": -0.5} for answer in reservation.answered.values())
        assert len(reservation.lost) == 13
        assert reservation.new == []


def take(path, start, taken):
    with Ledger(path, model="m") as ledger:
        start.wait()
        numbers = []
        try:
            for number in range(40):
                for each in reserve(ledger, number, budget=Budget(30)).new:
                    ledger.record(each, Answer("red"))
                    numbers.append(int(each.image.split()[1]))
        except BudgetExhaustedError:
            pass
    taken.put(numbers)


def test_two_processes_that_share_a_file_never_take_the_same_query(path):
    context = multiprocessing.get_context("spawn")
    start, taken = context.Barrier(2), context.Queue()
    processes = [context.Process(target=take, args=(path, start, taken)) for _ in range(2)]
    for process in processes:
        process.start()
    numbers = taken.get(timeout=60) + taken.get(timeout=60)
    for process in processes:
        process.join()
    assert sorted(numbers) == list(range(30))


def hold(path, ready, end):
    with Ledger(path, model="m") as ledger:
        reserve(ledger, 1, 2, 3)
        ready.set()
        end.wait()
        ledger.record(query(1), Answer("red"))
        ledger.release([query(2)])
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_another_process_has_sent_is_on_its_way_until_it_answers_gives_up_or_dies(path):
    context = multiprocessing.get_context("spawn")
    ready, end = context.Event(), context.Event()
    process = context.Process(target=hold, args=(path, ready, end))
    process.start()
    assert ready.wait(60)
    with Ledger(path, model="m") as ledger:
        keys = [ledger.key(query(number)) for number in (1, 2, 3)]
        assert reserve(ledger, 1, 2, 3) == ({}, [], set(), set(keys))
        ledger.release([query(3)])  # not ours
        end.set()
        process.join()
        after = reserve(ledger, 1, 2, 3)
    assert list(after.answered) == keys[:1]
    assert after.new == [query(2)]
    assert (after.lost, after.elsewhere) == ({keys[2]}, set())
    assert list(path.parent.glob(f"{path.name}.*.lock")) == []


def test_a_ledger_that_only_reads_knows_the_answers_and_leaves_no_lock(path):
    with Ledger(path, model="m") as writer, Ledger(path, model="m") as reader:
        reserve(writer, 1, 2)
        writer.record(query(1), Answer("red", {"red": -0.25}))
        known = reader.known([query(2), query(1), query(3), query(1)])
        assert known == [None, Answer("red", {"red": -0.25}), None, Answer("red", {"red": -0.25})]
        assert len(list(path.parent.glob(f"{path.name}.*.lock"))) == 1  # the writer's


def open_and_close(path, start):
    start.wait()
    for _ in range(5):
        Ledger(path, model="m").close()


def test_processes_that_make_the_file_at_once_do_not_disturb_each_other(path):
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    processes = [context.Process(target=open_and_close, args=(path, start)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]


def test_threads_share_one_ledger(ledger):
    new = []

    def work():
        for number in range(30):
            for each in reserve(ledger, number).new:
                ledger.record(each, Answer("red"))
                new.append(each)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(new) == len(set(new)) == 30


SCHEMA_1 = """
    CREATE TABLE images (digest TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT;
    CREATE TABLE queries (
        key TEXT PRIMARY KEY, model TEXT NOT NULL, image TEXT NOT NULL, prompt TEXT NOT NULL,
        purpose TEXT NOT NULL, text TEXT, logprobs TEXT, input_tokens INTEGER, output_tokens INTEGER,
        cost REAL, sent_at REAL NOT NULL, answered_at REAL
    ) STRICT;
    PRAGMA user_version = 1;
"""


def test_a_ledger_of_the_first_schema_is_brought_up_to_date_and_keeps_what_was_paid(path, ledger):
    key, lost = ledger.key(query(1)), ledger.key(query(2))
    old = path.with_name("old.sqlite")
    with sqlite3.connect(old) as connection:
        connection.executescript(SCHEMA_1)
        row = (key, "m", query(1).image_digest, "?", "train", "red", None, 90, 2, 0.5, 1.0, 2.0)
        connection.execute(f"INSERT INTO queries VALUES ({','.join('?' * 12)})", row)
        row = (lost, "m", query(2).image_digest, "?", "train", *[None] * 5, 1.0, None)
        connection.execute(f"INSERT INTO queries VALUES ({','.join('?' * 12)})", row)
        connection.execute("INSERT INTO images VALUES (?, ?)", (query(1).image_digest, query(1).image))
    for _ in range(2):
        with Ledger(old, model="m") as updated:
            assert reserve(updated, 1, 2) == ({key: Answer("red", None, 90, 2)}, [], {lost}, set())
            assert updated.lookup(key)[0] == b"image 1"
            assert updated.spent() == (2, 0.5)
            updated.doubt([query(1)])
            assert updated.doubtful() >= 1


def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "notes.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE notes (text)")
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="a database of something else"):
        Ledger(path, model="m")
    assert path.read_bytes() == before


def test_without_images_only_digests_are_stored(path):
    picture = os.urandom(20_000)
    asked = Query(picture, "What colour is the sign?")

    def stored(*, kept: bool) -> bool:
        file = path.with_name(f"{kept}.sqlite")
        with Ledger(file, model="m", store_images=kept) as ledger:
            assert ledger.reserve([asked], purpose="train", budget=PLENTY).new == [asked]
            ledger.record(asked, Answer("red"))
            on_disk = b"".join(each.read_bytes() for each in file.parent.glob(f"{file.name}*"))
            assert ledger.reserve([asked], purpose="train", budget=PLENTY).answered
            if not kept:
                with pytest.raises(LedgerError, match="pictures are not stored"):
                    ledger.lookup(ledger.key(asked))
        assert asked.image_digest.encode() in on_disk
        return any(picture[start : start + 32] in on_disk for start in range(0, len(picture), 32))

    assert stored(kept=True)  # the scan sees pictures where there are some
    assert not stored(kept=False)


def test_requests_that_may_be_charged_count_against_a_limit_on_cost(path):
    with Ledger(path, model="m", price=Price(1.0, 0.0)) as ledger:
        reserve(ledger, 1)
        ledger.record(query(1), Answer("red", None, 10**6, 0))
        ledger.require([query(2), query(3)], Budget(10, 3.0))
        ledger.doubt([query(2)])
        ledger.doubt([query(2)])
        assert ledger.doubtful() == 2
        assert ledger.spent() == (1, 1.0)
        ledger.require([query(1)], Budget(1, 1.0))  # known ones are free
        with pytest.raises(BudgetExhaustedError, match=r"2 requests without an answer that may be charged"):
            ledger.require([query(2)], Budget(10, 3.0))
        with pytest.raises(BudgetExhaustedError, match="budget of 2 "):
            ledger.require([query(2), query(3)], Budget(2))


def test_a_clock_that_goes_back_disturbs_nothing(ledger, monkeypatch):
    clock = iter(range(1_000_000, 0, -100_000))
    monkeypatch.setattr("trainer.oracle.ledger.time.time", lambda: float(next(clock)))
    reserve(ledger, 1)
    ledger.record(query(1), Answer("red"))
    reserve(ledger, 2)
    reservation = reserve(ledger, 1, 2, 3)
    assert reservation.answered == {ledger.key(query(1)): Answer("red")}
    assert reservation.lost == {ledger.key(query(2))}
    assert reservation.new == [query(3)]


def test_a_ledger_of_another_schema_is_refused_and_left_alone(path):
    Ledger(path, model="m").close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerError, match=r"schema 99.*Use another file"):
        Ledger(path, model="m")
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (99,)


def test_a_file_that_is_no_database_is_refused_and_left_alone(path):
    path.parent.mkdir()
    path.write_bytes(b"no database " * 100)
    with pytest.raises(LedgerError, match="not a database"):
        Ledger(path, model="m")
    assert path.read_bytes() == b"no database " * 100


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match=r"could not be opened.*a folder that can be written"):
        Ledger(tmp_path / "file" / "ledger.sqlite", model="m")


def test_a_full_disk_loses_nothing_and_the_ledger_goes_on_when_there_is_room(path, ledger):
    reserve(ledger, 1)
    ledger.record(query(1), Answer("red"))
    large = Query(os.urandom(400_000), "What colour is the sign?")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(LedgerError, match=r"could not be written.*free the disk"):
            ledger.reserve([large], purpose="train", budget=PLENTY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert ledger.spent()[0] == 1
    assert ledger.reserve([large], purpose="train", budget=PLENTY).new == [large]
    assert reserve(ledger, 1).answered[ledger.key(query(1))].text == "red"


def test_a_closed_ledger_says_so(ledger):
    ledger.close()
    with pytest.raises(LedgerError, match="could not be written"):
        reserve(ledger, 1)
