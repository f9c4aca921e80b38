"""Conversations with a model that reads screens: nothing private is on the wire, and restored answers are right."""

from __future__ import annotations

import shutil

import pytest

pytest.importorskip("rapidocr")
pytest.importorskip("uvicorn")

from tests.integration.screen_conversing import WAYS, hold_conversations
from trainer.sandbox.drawing.documents.browser import BROWSERS
from trainer.sandbox.vision.local_model import UNKNOWN

CONVERSATIONS = 2
"""Conversations that are held; ``python -m tests.bench.bench_conversations`` holds hundreds."""


@pytest.mark.slow(seconds=8)
@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="needs Chromium")
async def test_answers_are_those_of_the_originals_and_nothing_private_is_sent(tmp_path) -> None:
    found = await hold_conversations(CONVERSATIONS, tmp_path / "wire.jsonl", first=4)
    answerable = [each for each in found.answers if each.expected != UNKNOWN]
    wrong = [each for each in answerable if each.got != each.expected]
    assert (found.leaks, wrong) == ([], [])
    assert len(answerable) >= CONVERSATIONS
    assert found.values > CONVERSATIONS
    assert {each.way for each in found.answers} <= set(WAYS)
