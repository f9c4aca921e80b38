"""``vpp evaluate --attack words`` on a folder of annotated pictures, with a reader of given words."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from langchain_vpp.cli.app import app
from langchain_vpp.engines.words import engine
from langchain_vpp.engines.words.recognizers import FormRecognizer
from tests.unit.langchain_vpp.engines.words.made import FakeReader
from tests.unit.langchain_vpp.engines.words.test_engine import SIZE, page
from trainer.attackers.words import readers
from trainer.attackers.words.readers import Seen


@pytest.fixture
def folder(tmp_path, monkeypatch):
    image, words = page()
    monkeypatch.setattr("langchain_vpp.engines.words.RapidReader", lambda: FakeReader(words, SIZE))
    monkeypatch.setattr(engine, "default_recognizers", lambda: [FormRecognizer()])

    def read(picture):
        """See the words whose pixels are those of the original."""
        boxes = [(word, [round(edge) for edge in word.box]) for word in words]
        return [
            Seen(word.text, word.box)
            for word, box in boxes
            if picture.size == SIZE and picture.crop(box).tobytes() == image.crop(box).tobytes()
        ]

    monkeypatch.setattr(readers, "readers_named", lambda names: {"given": read})
    image.save(tmp_path / "screen.png")
    anna = next(word.box for word in words if word.text == "Anna")
    meyer = next(word.box for word in words if word.text == "Meyer")
    extent = [anna[0], anna[1], meyer[2] - anna[0], meyer[3] - anna[1]]
    span = {"label": "private_person", "text": "Anna Meyer", "bbox": extent}
    line = {"image_path": "screen.png", "template": "letter", "spans": [span]}
    (tmp_path / "annotations.jsonl").write_text(json.dumps(line))
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_the_report_is_written_and_printed(folder):
    out = folder / "report.json"
    done = run("screens", "--data", folder, "--attack", "words", "--out", out, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report == json.loads(out.read_text())
    assert [each["level"] for each in report["levels"]] == ["balanced", "high"]
    figures = [each["figures"] for each in report["levels"]]
    assert [each["clean"]["count"] for each in figures] == [1, 1]
    assert [each["leaked"]["count"] for each in figures] == [0, 0]
    assert figures[0]["kept"]["count"] > figures[1]["kept"]["count"] > 0  # the amount
    assert "Words in pictures" in done.stderr


def test_levels_are_read_from_a_file_of_settings(folder):
    (folder / "settings.json").write_text('{"levels": ["1"]}')
    done = run(
        "screens", "--data", folder, "--attack", "words", "--out", folder / "r.json",
        "--config", folder / "settings.json", "--json",
    )  # fmt: skip
    assert [each["figures"]["kept"]["count"] for each in json.loads(done.stdout)["levels"]] == [0]


@pytest.mark.parametrize(
    "options",
    [
        ("--attack", "text"),
        ("--model", "openai:gpt-4o-mini"),
        ("--html", "page.html"),
    ],
)
def test_what_does_not_go_together_is_refused(folder, options):
    done = run("screens", "--data", folder, "--attack", "words", "--out", folder / "r.json", *options)
    assert done.exit_code != 0
    assert not (folder / "r.json").exists()


@pytest.mark.slow(seconds=1)
def test_a_level_that_does_not_exist_is_refused(folder):
    (folder / "settings.json").write_text('{"levels": ["medium"]}')
    done = run(
        "screens", "--data", folder, "--attack", "words", "--out", folder / "r.json",
        "--config", folder / "settings.json",
    )  # fmt: skip
    assert done.exit_code != 0
    assert not (folder / "r.json").exists()


def test_an_aimed_attack_without_a_list_of_other_words_is_refused(folder):
    (folder / "settings.json").write_text('{"attack": "aimed", "readers": ["tesseract"]}')
    done = run(
        "screens", "--data", folder, "--attack", "words", "--out", folder / "r.json",
        "--config", folder / "settings.json",
    )  # fmt: skip
    assert done.exit_code == 2
    assert "`words`" in done.stderr.replace("\n", " ")


def test_what_each_picture_gave_stands_beside_the_report(folder):
    out = folder / "report.json"
    for _ in range(2):
        assert run("screens", "--data", folder, "--attack", "words", "--out", out).exit_code == 0
    assert len((folder / "report.pictures.jsonl").read_text().splitlines()) == 1
