"""Every Python block of the README and of the site runs, page by page, in the order in which it stands."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

from tests.docs.pages import ROOT, pages, python_blocks
from tests.domains import fit_to_few_pictures
from tests.integration.recording import recording_server
from trainer.sandbox.drawing.scenes import make_data

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = Sybil(parsers=[PythonCodeBlockParser(), SkipParser()])
TRAINING = ("training", "evaluating")
PAGES = [
    pytest.param(
        page,
        id=page.relative_to(ROOT).as_posix(),
        marks=[pytest.mark.trains, pytest.mark.slow(seconds=15)] if page.parent.name in TRAINING else [],
    )
    for page in pages()
    if python_blocks(page)
]


@pytest.fixture(scope="module")
def provider():
    with recording_server() as running:
        yield running


@pytest.fixture
def surroundings(tmp_path, monkeypatch, provider) -> Path:
    """A folder with the files that the pages speak of, and a local provider in the place of OpenAI."""
    pixels = random.Random(0).randbytes(640 * 480 * 3)
    photo = Image.frombytes("RGB", (640, 480), pixels)
    (tmp_path / "photos").mkdir()
    for name in ("card.jpg", "photo.jpg", "photos/one.jpg", "photos/two.jpg"):
        photo.save(tmp_path / name)
    photo.save(tmp_path / "letter.pdf")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{provider.url}/v1")
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    fit_to_few_pictures(monkeypatch)
    return tmp_path


def _run(page: Path) -> int:
    """Run the blocks of a page in one namespace, and return how many there were."""
    examples = list(EXAMPLES.parse(page).examples())
    for example in examples:
        example.evaluate()
    return len(examples)


@pytest.mark.parametrize("page", PAGES)
def test_examples_of_a_page_run(page, surroundings):
    if page.parent.name in TRAINING:
        make_data(surroundings / "data", train=150, val=40, test=60, seed=0)
    assert _run(page) >= python_blocks(page)


def test_an_example_that_fails_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nvalue = 1\n```\n\nThen:\n\n```python\nassert value == 2\n```\n")
    with pytest.raises(AssertionError):
        _run(page)
