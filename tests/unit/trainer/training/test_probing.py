"""What training asks: each picture with its own choices, as they are written."""

from __future__ import annotations

import json
import sqlite3

import pytest
from langchain_core.language_models import FakeListChatModel
from PIL import Image

from tests.unit.trainer.training.small_run import small_config
from trainer import Trainer, load_dataset

pytestmark = pytest.mark.trains

PLACES = (("The Hague", "Den Bosch"), ("St. Ives", "The Hague", "1,000"), ("A", "B"))


def test_a_run_asks_each_picture_with_its_own_choices_and_measures_by_them(tmp_path):
    entries = []
    for number in range(18):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(tmp_path / f"{number}.png")
        choices = PLACES[number % 3] if number < 15 else ("Val", "Test")
        task = {"question": "Where?", "answer": choices[number % 2], "choices": choices}
        split = "train" if number < 12 else "val" if number < 16 else "test"
        private = {"kind": "xy"[number // 2 % 2]}
        entries.append({"image": f"{number}.png", "split": split, "tasks": [task], "private": private})
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, entries)))
    model = FakeListChatModel(responses=["<think>A?</think>**The Hague**"])
    trainer = Trainer(model, load_dataset(tmp_path), small_config(max_queries=60, validation=0.4))
    trainer.fit(tmp_path / "run")
    with sqlite3.connect(tmp_path / "run" / "ledger.sqlite") as ledger:
        prompts = {
            purpose: {
                row[0] for row in ledger.execute("SELECT prompt FROM queries WHERE purpose = ?", (purpose,))
            }
            for purpose in ("train", "validate")
        }
        texts = {row[0] for row in ledger.execute("SELECT DISTINCT text FROM queries")}
    asked = [f"Where?\nAnswer with exactly one of: {', '.join(choices)}." for choices in PLACES]
    assert prompts["train"] == set(asked)
    assert prompts["validate"] == {*asked, "Where?\nAnswer with exactly one of: Val, Test."}
    assert texts == {"<think>A?</think>**The Hague**"}  # the ledger keeps what was sent back
    assert trainer.counts.unfit > 0
    assert trainer.counts.answered > 0
