"""A small good data set, to be spoiled by tests."""

from __future__ import annotations

import json

TASK = {"question": "What colour is the sign?", "answer": "red", "choices": ["red", "blue"]}


def line(image: str, split: str = "train", gender: str = "f", **fields) -> dict:
    return {"image": image, "split": split, "tasks": [TASK], "private": {"gender": gender}} | fields


def lines() -> list[dict]:
    """A small good data set; line 1 is for training."""
    return [
        line("1.png"),
        line("2.png", gender="m"),
        line("3.png", "val"),
        line("4.png", "test", gender="m"),
    ]


def write(folder, entries) -> None:
    text = "\n".join(entry if isinstance(entry, str) else json.dumps(entry) for entry in entries)
    (folder / "data.jsonl").write_text(text, encoding="utf-8")
