"""The protector of words by its name: pictures are protected with it, and it is shown."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from langchain_vpp.cli.app import app
from langchain_vpp.engines.words import engine
from langchain_vpp.engines.words.recognizers import FormRecognizer
from tests.unit.langchain_vpp.engines.words.made import FakeReader
from tests.unit.langchain_vpp.engines.words.test_engine import SIZE, page


@pytest.fixture
def given_words(monkeypatch):
    image, words = page()
    monkeypatch.setattr(engine, "RapidReader", lambda: FakeReader(words, SIZE))
    monkeypatch.setattr(engine, "default_recognizers", lambda: [FormRecognizer()])
    return image, words


def run(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


def same(one, other, box):
    """Whether two pictures show the same there, apart from the traces of a JPEG."""
    first, second = (np.asarray(each.convert("L").crop(box), dtype=float) for each in (one, other))
    return float(np.abs(first - second).mean()) < 10


@pytest.mark.parametrize(
    ("level", "number_shown"), [(None, True), ("balanced", True), ("high", False), ("0.7", False)]
)
def test_pictures_are_protected_at_each_preset(tmp_path, given_words, level, number_shown):
    image, words = given_words
    image.save(tmp_path / "screen.png")
    options = [] if level is None else ["--level", level]
    done = run(
        "protect", tmp_path / "screen.png", "--artifact", "screens", *options, "--out", tmp_path / "out"
    )
    assert done.exit_code == 0, done.output
    (made,) = (path for path in (tmp_path / "out").iterdir() if path.is_file())
    boxes = {word.text: tuple(round(edge) for edge in word.box) for word in words}
    with Image.open(made) as result:
        assert same(image, result, boxes["letter"])
        assert same(image, result, boxes["$240.00"]) is number_shown
        assert not same(image, result, boxes["Anna"])


def test_a_level_that_does_not_exist_is_one_error(tmp_path, given_words):
    given_words[0].save(tmp_path / "a.png")
    done = run(
        "protect", tmp_path / "a.png", "--artifact", "screens", "--level", "medium", "--out", tmp_path / "o"
    )
    assert done.exit_code != 0
    assert not (tmp_path / "o").exists()


def test_inspect_shows_presets_and_parts(given_words):
    done = run("inspect", "screens", "--json")
    assert done.exit_code == 0, done.output
    shown = json.loads(done.stdout)
    assert shown["presets"] == {"low": 0.25, "balanced": 0.5, "high": 0.75}
    assert shown["digest"] == engine.Words().digest
    assert any(part.startswith("rapidocr ") for part in shown["parts"])
