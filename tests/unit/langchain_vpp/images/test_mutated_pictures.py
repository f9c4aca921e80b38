"""Ten thousand mutated files give protected output or a refusal: no other exception, no crash, no hang, no mark."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

import pytest

from langchain_vpp.errors import ProtectionError
from tests.unit import mutated_pictures
from tests.unit.marked_pictures import MARK, encoded, jpeg, noise, still_pictures


def run_apart(first: int, count: int) -> mutated_pictures.Summary:
    """Run cases in a process of their own, which may crash."""
    command = [
        sys.executable,
        "-m",
        "tests.unit.mutated_pictures",
        "--first",
        str(first),
        "--count",
        str(count),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return mutated_pictures.Summary(**json.loads(done.stdout))


def check(summary: mutated_pictures.Summary, count: int) -> None:
    assert summary.failures == []
    assert summary.protected + summary.refused == count
    # Were nearly all refused at the door, the decoders would not have been tried.
    assert min(summary.protected, summary.refused) > count // 10
    assert summary.peak_megabytes < 1_500


@pytest.mark.slow(seconds=3)
def test_a_thousand_mutated_files_are_protected_or_refused() -> None:
    check(run_apart(0, 1_000), 1_000)


@pytest.mark.slow
def test_nine_thousand_more_mutated_files_are_protected_or_refused() -> None:
    check(run_apart(1_000, 9_000), 9_000)


def test_a_case_depends_on_its_number_alone() -> None:
    bases = list(still_pictures().values())
    once, again = (
        [mutated_pictures.mutated(bases, random.Random(number)) for number in numbers]
        for numbers in (range(50), reversed(range(50)))
    )
    assert once == again[::-1]
    assert len(set(once)) > 45
    assert not set(once) & set(bases)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (lambda data: data[100_000], "IndexError"),
        (lambda data: jpeg(), "AssertionError"),
        (lambda data: encoded(noise(), "JPEG", comment=b"x"), "AssertionError"),
        (lambda data: encoded(noise(), "PNG"), "AssertionError"),
    ],
    ids=["another exception", "metadata", "a comment", "another format"],
)
def test_what_is_neither_a_plain_picture_nor_a_refusal_is_a_failure(answer, failure) -> None:
    summary = mutated_pictures.run(0, 2, answer)
    assert len(summary.failures) == 2
    assert failure in summary.failures[0]


def test_a_refusal_that_carries_content_is_a_failure() -> None:
    def refuse_aloud(data: bytes) -> bytes:
        raise ProtectionError(f"can't read {MARK.decode()}")

    assert mutated_pictures.run(0, 1, refuse_aloud).failures == ["case 0: the refusal carries content"]


@pytest.mark.slow(seconds=0.42)
def test_a_hang_ends_the_process_and_names_the_case() -> None:
    code = (
        "import time; from tests.unit import mutated_pictures as m; m.SECONDS = 0.2; "
        "m.run(7, 1, lambda data: time.sleep(60))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50
    )
    assert done.returncode == 1
    assert "case 7\nTimeout" in done.stderr
