"""An attribute that the assessor can't learn is named before the first query is paid."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from langchain_core.language_models import FakeListChatModel
from PIL import Image

from langchain_vpp.artifact import read_manifest
from tests.unit.trainer.training.small_run import small_config
from trainer import Trainer, load_dataset

COLOURS = {"red": (220, 40, 40), "blue": (40, 40, 220)}
TONES = {"light": 230, "dark": 20}


def draw_plates(folder):
    """Plates of a colour with two small marks, light or dark: whether they are alike is private, and hard to learn."""
    generator = np.random.default_rng(0)
    lines = []
    for number in range(280):
        pixels = generator.integers(100, 150, (32, 32, 3))
        colour, tone, *marks = (str(generator.choice(list(each))) for each in (COLOURS, TONES, TONES, TONES))
        pixels[12:20, 4:28] = COLOURS[colour]
        pixels[:8] += 60 if tone == "light" else -60
        for mark, (top, left) in zip(marks, ((22, 3), (26, 26)), strict=True):
            pixels[top : top + 3, left : left + 3] = TONES[mark]
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
        lines.append(
            {
                "image": f"{number}.png",
                "split": "train" if number < 180 else "val" if number < 270 else "test",
                "tasks": [{"question": "What colour is it?", "answer": colour, "choices": list(COLOURS)}],
                "private": {"tone": tone, "alike": "yes" if marks[0] == marks[1] else "no"},
            }
        )
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return load_dataset(folder)


class Asked(FakeListChatModel):
    """Notes what had been logged when it was asked first."""

    log: Any
    before: list[str] = []  # noqa: RUF012  a field, not shared

    def _call(self, *args, **kwargs):
        self.before = self.before or [record.getMessage() for record in self.log.records]
        return super()._call(*args, **kwargs)


@pytest.mark.trains
@pytest.mark.slow(seconds=4)
def test_what_the_assessor_cant_learn_is_named_before_the_first_query(tmp_path, caplog):
    (tmp_path / "data").mkdir()
    dataset = draw_plates(tmp_path / "data")
    model = Asked(responses=["red"], log=caplog)
    config = small_config(pretraining_steps=25, reader_width=24, student_batch=8)
    run = Trainer(model, dataset, config).fit(tmp_path / "run")
    warned = [line for line in model.before if "will not learn to hide" in line]
    assert len(warned) == 1
    assert "'alike'" in warned[0]
    assert "'tone'" not in warned[0]
    assert read_manifest(run)[0].unread == ("alike",)
