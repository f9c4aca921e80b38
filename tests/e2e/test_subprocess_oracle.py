"""What is in flight when ``vpp train`` is killed is neither lost nor paid twice, and no process is left behind."""

from __future__ import annotations

import json
import math
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from langchain_vpp.errors import LedgerError, OracleError
from tests.e2e.commands import Commands, wait_until
from tests.e2e.conftest import TINY
from tests.e2e.forked import forked_processes
from tests.e2e.providers import Relay
from tests.e2e.test_train import ledger_counts, train
from trainer.oracle.ledger import Budget, Ledger
from trainer.oracle.model_spec import ModelSpec
from trainer.oracle.query import Query
from trainer.oracle.subprocess import SubprocessOracle

if TYPE_CHECKING:
    from collections.abc import Iterator

KILLS = 20
OUTAGES = {6: 0.5, 12: 1.0, 20: math.inf, 35: 0.3, 50: 0.8}
LONGER = TINY | {"steps": 16, "max_queries": 100}


@pytest.fixture(scope="module")
def vpp_anew(tmp_path_factory) -> Commands:
    """``vpp`` that starts its subprocess as it does for users."""
    return Commands(tmp_path_factory.mktemp("work"), anew=True)


def processes() -> Iterator[tuple[int, int, str]]:
    """Ids, parents' ids and command lines of all processes that are alive."""
    # -ww: `ps` cuts lines at the width of a terminal where the environment names one.
    listed = subprocess.run(
        ["ps", "-axww", "-o", "pid=,ppid=,stat=,command="], capture_output=True, text=True, check=True
    )
    for line in listed.stdout.splitlines():
        pid, parent, stat, command = line.split(None, 3)
        if stat[0] != "Z":
            yield int(pid), int(parent), command


def running_processes() -> set[int]:
    return {pid for pid, _, _ in processes()}


def asking_processes() -> dict[int, int]:
    """Process ids of all subprocess oracles that were started anew and are alive, with their parents' ids."""
    return {pid: parent for pid, parent, command in processes() if "trainer.oracle.subprocess" in command}


def asking_process_of(command) -> int:
    found = []

    def has_one() -> bool:
        found[:] = [pid for pid, parent in asking_processes().items() if parent == command.pid]
        return bool(found)

    wait_until(has_one)
    return found[0]


def assert_gone(pids) -> None:
    wait_until(lambda: not asking_processes().keys() & set(pids))


@pytest.mark.slow(seconds=40)
def test_20_kills_and_5_outages_change_nothing_and_pay_nothing_twice(vpp, data, config, server, tmp_path):
    config.write_text(json.dumps(LONGER))
    assert train(vpp, data, config, tmp_path / "whole", server, "--seed", 21).code == 0
    out = tmp_path / "run"
    generator = random.Random(21)
    kills, cut_short, codes = 0, 0, []
    with vpp.sandbox() as own, Relay(own.base_url, delay=0.1, outages=OUTAGES) as relay:
        while 0 not in codes:
            command = train(vpp, data, config, out, relay, "--seed", 21, "--resume", wait=False)
            if kills < KILLS and kills % 2:  # soon after a request left
                goal = relay.forwarded + generator.randint(1, 5)
                wait_until(lambda: relay.forwarded >= goal or not command.running())  # noqa: B023
                time.sleep(generator.uniform(0, 0.1))
            elif kills < KILLS:  # at any moment, also while it loads
                time.sleep(generator.uniform(0, 0.6))
            if kills < KILLS and command.running():
                cut_short += relay.in_flight > 0
                command.signal(signal.SIGKILL)
                assert command.wait().code == -signal.SIGKILL
                kills += 1
            else:
                codes.append(command.wait().code)
                relay.restore()
        stats = own.stats()
    assert (kills, codes) == (KILLS, [4, 0])
    assert cut_short >= 5
    assert len(relay.cut) == len(OUTAGES)
    assert min(relay.cut) > 0
    for name in ("model.safetensors", "manifest.json"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert stats["repeated"] == 0
    assert (stats["completions"],) * 2 == ledger_counts(out) == ledger_counts(tmp_path / "whole")
    asking = forked_processes(vpp.folder)
    assert len(asking) >= KILLS / 2  # the others were killed before they asked
    wait_until(lambda: not set(asking) & running_processes())


@pytest.mark.slow(seconds=15)
def test_when_the_subprocess_is_killed_the_run_ends_with_4_and_resumes_without_what_was_in_flight(
    vpp_anew, data, config, tmp_path
):
    out = tmp_path / "run"
    with vpp_anew.sandbox() as server, Relay(server.base_url, delay=0.3) as relay:
        command = train(vpp_anew, data, config, out, relay, "--seed", 22, "--steps", 8, wait=False)
        wait_until(lambda: relay.forwarded >= 6 and relay.in_flight > 0)
        asking = asking_process_of(command)
        subprocess.run(["kill", "-9", str(asking)], check=True)
        stopped = command.wait()
        assert stopped.code == 4
        assert "has ended (exit code -9)" in stopped.error
        assert "not asked again. Resume" in stopped.error
        sent, answered = ledger_counts(out)
        lost = sent - answered
        assert 1 <= lost <= TINY["max_concurrency"] + TINY["batch"] * 3
        assert train(vpp_anew, data, config, out, relay, "--seed", 22, "--steps", 8, "--resume").code == 0
        stats = server.stats()
    sent, answered = ledger_counts(out)
    assert sent - answered == lost
    assert stats["repeated"] == 0
    assert stats["completions"] <= sent <= TINY["max_queries"]
    assert asking not in asking_processes()


@pytest.mark.slow(seconds=25)
def test_the_subprocess_ends_with_its_run_and_after_a_kill_with_its_last_answer(
    vpp_anew, data, config, tmp_path
):
    with vpp_anew.sandbox() as server, Relay(server.base_url, delay=2) as relay:
        command = train(
            vpp_anew, data, config, tmp_path / "run", relay, "--seed", 23, "--steps", 1000, wait=False
        )
        asking = asking_process_of(command)
        wait_until(lambda: relay.in_flight > 0)
        command.signal(signal.SIGTERM)  # as fatal as kill -9, and not for the subprocess
        assert command.wait().code == -signal.SIGTERM
        assert asking in asking_processes()
        assert_gone([asking])
        assert len(set(ledger_counts(tmp_path / "run"))) == 1
        assert server.stats()["completions"] == ledger_counts(tmp_path / "run")[0]
        command = train(vpp_anew, data, config, tmp_path / "run", relay, "--seed", 24, "--resume", wait=False)
        asking = asking_process_of(command)
        assert command.wait().code == 2  # settings of another run
        assert_gone([asking])
    command = train(vpp_anew, data, config, tmp_path / "early", relay, wait=False)
    asking = asking_process_of(command)
    command.signal(signal.SIGKILL)
    assert_gone([asking])


@pytest.fixture
def endless():
    """Address of a provider that sends a byte now and then and never ends."""

    def trickle(connection):
        with connection:
            try:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
                while not over.wait(0.05):
                    connection.sendall(b" ")
            except ConnectionError:
                pass

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            taken.append(connection)
            threading.Thread(target=trickle, args=(connection,), daemon=True).start()

    over, taken = threading.Event(), []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", taken
        over.set()


@pytest.mark.slow(seconds=10)
def test_a_request_that_never_ends_does_not_keep_the_subprocess_alive(endless, tmp_path):
    base_url, taken = endless
    path = tmp_path / "ledger.sqlite"
    asker = (
        "import sys\nfrom pathlib import Path\n"
        "from trainer.oracle.subprocess import SubprocessOracle\nfrom trainer.oracle.ledger import Budget, Ledger\n"
        "from trainer.oracle.query import Query\n"
        "from trainer.oracle.model_spec import ModelSpec\n"
        "oracle = SubprocessOracle(ModelSpec.parse('sandbox', sys.argv[1], 2.0))\n"
        "oracle.open(Ledger(Path(sys.argv[2]), model='m'), Budget(9), access='labels', questions_per_call=1,"
        " requests_per_second=None, max_concurrency=1)\n"
        "print(oracle.pid, flush=True)\n"
        "oracle.ask([Query(b'image', 'How many?')], purpose='train')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", asker, base_url, str(path)], stdout=subprocess.PIPE, text=True
    )
    asking = int(process.stdout.readline())
    wait_until(lambda: taken)
    process.kill()
    process.wait()
    process.stdout.close()
    assert_gone([asking])
    with Ledger(path, model="m") as ledger:
        # It may have been paid. A process that is listed no more may hold its lock for a moment yet.
        asked = [Query(b"image", "How many?")]
        wait_until(lambda: ledger.reserve(asked, purpose="train", budget=Budget(9)).lost, 5)


def test_a_subprocess_oracle_that_can_not_begin_says_why(tmp_path):
    settings = {
        "access": "labels",
        "questions_per_call": 1,
        "requests_per_second": None,
        "max_concurrency": 1,
    }
    named = ModelSpec.parse("sandbox", "http://127.0.0.1:9/v1")
    with SubprocessOracle(named) as oracle, Ledger(tmp_path / "a", model="m") as ledger:
        with pytest.raises(OracleError, match="has no ledger"):
            oracle.ask([Query(b"image", "How many?")], purpose="train")
        ledger.path = tmp_path
        oracle.open(ledger, Budget(9), **settings)
        with pytest.raises(LedgerError, match="could not be opened"):
            oracle.ask([Query(b"image", "How many?")], purpose="train")
        with pytest.raises(OracleError, match="has ended"):
            oracle.ask([Query(b"image", "How many?")], purpose="train")
