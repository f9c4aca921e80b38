"""Drawn tasks: pages whose questions can be answered, and a layout that is held back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from trainer.data.dataset import load_dataset
from trainer.sandbox.drawing.documents import tasks
from trainer.sandbox.drawing.documents.browser import RenderedPage
from trainer.sandbox.drawing.documents.tasks import DOCUMENT_TASKS, design_task_page, make_task_data


@pytest.mark.parametrize("task", DOCUMENT_TASKS)
@pytest.mark.parametrize("layout", [0, 1, 2])
def test_every_answer_stands_on_the_page(task, layout):
    for seed in range(3):
        html, page = design_task_page(task, layout, np.random.default_rng(seed))
        assert len(page.answers) >= 5
        for text in (*page.answers.values(), *page.texts.values()):
            assert text in html


def test_layouts_differ_and_seeds_give_other_people():
    pages = [design_task_page("mail", layout, np.random.default_rng(4))[0] for layout in (0, 1, 2)]
    assert len(set(pages)) == 3
    first, again, other = (design_task_page("mail", 0, np.random.default_rng(seed))[1] for seed in (1, 1, 2))
    assert first.answers == again.answers != other.answers


def test_a_data_set_is_written_and_can_be_loaded(tmp_path, monkeypatch):
    drawn = []

    def draw(page, size, scale, *, browser):
        drawn.append(page)
        return RenderedPage(Image.new("RGB", size, (len(drawn), 0, 0)), ())

    monkeypatch.setattr(tasks, "find_browser", lambda: "a browser")
    monkeypatch.setattr(tasks, "render", draw)
    make_task_data(tmp_path / "forms", "forms", sizes={"train": 2, "val": 1, "test": 1}, seed=0)
    dataset = load_dataset(tmp_path / "forms", needs_attributes=False)
    lines = [json.loads(line) for line in (tmp_path / "forms" / "data.jsonl").read_text().splitlines()]
    assert [line["split"] for line in lines] == ["train", "train", "val", "test"]
    assert all(dataset.open_image(example).size == (640, 420) for example in dataset.examples)
    for page, line in zip(drawn, lines, strict=True):
        assert all(task["answer"] in page for task in line["tasks"])
        # The layout of the test split has its buttons above its fields.
        is_held_back = page.index(line["tasks"][0]["answer"]) < page.index("First name")
        assert is_held_back == (line["split"] == "test")
