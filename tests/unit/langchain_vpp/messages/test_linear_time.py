# ruff: noqa: E501, Q003
"""Every search of text takes time in proportion to its length: hostile text can't hold up a process.

CPU time is measured, the best of several, at two lengths. All patterns of the package are tried, each by itself.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import random
import re
import time
from typing import TYPE_CHECKING

import pytest

import langchain_vpp
from langchain_vpp.messages.file_headers import find_file_header
from langchain_vpp.messages.spelled import holds_pixels
from langchain_vpp.messages.volume import text_volume

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTH = 2_500
GROWTH = 4
UNITS = (
    "\\", "\\\\x", "\\x4", "\\u", "%4", "%41", "&#", "&#12", "=4", "=\n", "a", "A1", "aB3", "0x", "1,", "1, ", "-1", "1e",
    "0.5 ", "a ", "ab-", "a: ", "0: ", '"a": ', "00000000 ", "89 50 ", "data:image/png;", "data:image/,", "MIIB", "GIF89a",
    "-----BEGIN A-----", "-----BEGIN A-----\nA-", "P3 1 1 ", "#define a_width 1 ", "/* XPM */", "ACGT", "\n", " \n", "😀", "é",
    "\x00", "=A" * 30 + " ", "x" * 31 + " ", "|", "vpp://", "https://a/", "[[", "{\"a\":[",
)  # fmt: skip


def patterns() -> dict[str, re.Pattern[str] | re.Pattern[bytes]]:
    """All compiled patterns that stand in modules of the package."""
    found: dict[str, re.Pattern[str] | re.Pattern[bytes]] = {}
    for module in pkgutil.walk_packages(langchain_vpp.__path__, "langchain_vpp."):
        if ".network" in module.name:  # torch
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, re.Pattern):
                found[f"{module.name.removeprefix('langchain_vpp.')}.{name}"] = value
    return found


def growth(work: Callable[[str], object], unit: str) -> float:
    """Return how many times as long ``work`` takes with text that is ``GROWTH`` times as long."""
    short, long = (unit * (length // len(unit)) for length in (LENGTH, LENGTH * GROWTH))
    best = [float("inf"), float("inf")]
    for _ in range(3):
        for which, text in enumerate((short, long)):
            started = time.process_time()
            work(text)
            best[which] = min(best[which], time.process_time() - started)
        if best[1] < 0.015 or best[1] < 1.5 * GROWTH * best[0]:
            return 1.0 if best[1] < 0.015 else best[1] / best[0]
    return best[1] / best[0]


def search(pattern: re.Pattern[str] | re.Pattern[bytes], text: str) -> None:
    subject = text if isinstance(pattern.pattern, str) else text.encode()
    for _ in pattern.finditer(subject):  # type: ignore[arg-type]
        pass


def random_units(number: int) -> list[str]:
    chance = random.Random(7)
    return [
        "".join(chance.choices("\\x0aF1&#%=:;,. \n\"'|-+/AZ", k=chance.randint(1, 9))) for _ in range(number)
    ]


@pytest.mark.slow(seconds=0.03)
@pytest.mark.parametrize("name", patterns())
def test_every_pattern_takes_linear_time(name: str) -> None:
    work = functools.partial(search, patterns()[name])
    slow = {unit: round(growth(work, unit), 1) for unit in (*UNITS, *random_units(8))}
    assert {unit: ratio for unit, ratio in slow.items() if ratio > 2 * GROWTH} == {}


@pytest.mark.slow(seconds=5)
@pytest.mark.parametrize(
    "work",
    [holds_pixels, text_volume, lambda text: find_file_header(text.encode())],
    ids=["spelled", "volume", "headers"],
)
def test_the_whole_search_takes_linear_time(work: Callable[[str], object]) -> None:
    slow = {unit: round(growth(work, unit), 1) for unit in (*UNITS[::3], *random_units(4))}
    assert {unit: ratio for unit, ratio in slow.items() if ratio > 2 * GROWTH} == {}


@pytest.mark.slow(seconds=0.27)
def test_a_quadratic_pattern_is_seen() -> None:
    # As it once stood here: a run of backslashes was tried again at each of them.
    assert growth(functools.partial(search, re.compile(r"\\+(?:x|u00)[0-9A-Fa-f]{2}")), "\\") > 2 * GROWTH


@pytest.mark.slow(seconds=1)
@pytest.mark.parametrize("unit", ["ab-", "%41", "\\n", "a ", "1,", "=\n", "\\", "a" * 31 + " "])
def test_long_text_takes_no_more_than_a_moment(unit: str) -> None:
    started = time.process_time()
    holds_pixels(unit * (300_000 // len(unit)))
    assert time.process_time() - started < 2
