"""Columns: runs behind the same characters are read together, the first of them too."""

from __future__ import annotations

import base64
import random

from langchain_vpp.messages.columns import BASE64, DECIMAL, HEX, columns
from langchain_vpp.messages.file_headers import SHORTEST_SPELLING


def test_runs_behind_the_same_characters_are_one_column() -> None:
    text = "\n".join(f"12:0{n % 10} value={n * 7 % 256};" for n in range(50))
    found = columns(DECIMAL, text)
    assert found[" value="] == [str(n * 7 % 256) for n in range(50)]
    assert found[":"] == [f"0{n % 10}" for n in range(50)]


def test_the_first_run_counts_whatever_stands_before_it() -> None:
    assert columns(DECIMAL, "137, 80, 78, 71")[", "] == ["137", "80", "78", "71"]
    assert columns(HEX, "Look: 89; 50; 4e; ab")["; "] == ["89", "50", "4e", "ab"]
    assert columns(BASE64, "i<!-- -->V<!-- -->B<!-- -->O")[">"] == ["i", "V", "B", "O"]


def test_words_are_no_digits_of_hex_and_prefixes_are_none_either() -> None:
    assert columns(HEX, "&H89 &H4E &HAB")[" &H"] == ["89", "4E", "AB"]
    assert columns(HEX, "byte 0x89 sent\nbyte 0xab sent\nbyte 0x4e sent")[" sent\nbyte 0x"] == [
        "89",
        "ab",
        "4e",
    ]


def test_letters_that_repeat_by_chance_are_no_frame() -> None:
    random_text = base64.b64encode(random.Random(2).randbytes(30_000)).decode()
    assert max(map(len, columns(DECIMAL, random_text).values()), default=0) < SHORTEST_SPELLING
