"""What protected pictures give away is measured without labels: links to originals, words, faces."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from langchain_vpp.cli.app import app
from langchain_vpp.engines.faces import Face
from langchain_vpp.errors import DataError
from trainer.attackers.words.readers import Seen
from trainer.evaluation.unlabelled import UnlabelledMeasurement, features


def scene(number: int) -> Image.Image:
    source = random.Random(number)
    image = Image.new("RGB", (96, 64), tuple(source.randbytes(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        left, top = source.randrange(80), source.randrange(50)
        draw.rectangle((left, top, left + 20, top + 14), fill=tuple(source.randbytes(3)))
    return image


def same(image: Image.Image) -> Image.Image:
    return image.copy()


def grey(image: Image.Image) -> Image.Image:
    return Image.new("RGB", image.size, (128, 128, 128))


def read(image: Image.Image) -> list[Seen]:
    """See two words in a picture that is not one colour, one of them without certainty."""
    if np.asarray(image).std() == 0:
        return []
    return [Seen("Odrana", (0, 0, 9, 9)), Seen("unsure", (0, 0, 9, 9), 0.2)]


def find(image: Image.Image, _threshold: float) -> list[Face]:
    size = image.width / 96
    return [] if np.asarray(image).std() == 0 else [Face(10 * size, 10 * size, 40 * size, 40 * size, 0.9)]


def measured(protections, *, readers=None, faces=None, count=6):
    measurement = UnlabelledMeasurement(protections, readers or {}, faces)
    for number in range(count):
        measurement.add(scene(number))
    return measurement.report("made", 0)


def test_an_open_protector_gives_everything_away_and_a_closed_one_nothing():
    report = measured({"open": same, "closed": grey}, readers={"given": read}, faces=find)
    opened, closed = report.levels
    assert {share.value for share in opened.linked.values()} == {1.0}
    assert {share.value for share in closed.linked.values()} == {0.0}
    assert (opened.words["given"].value, closed.words["given"].value) == (1.0, 0.0)
    assert (opened.words["given"].of, report.words_by_chance["given"]) == (6, 1.0)
    assert (opened.faces.value, closed.faces.value) == (1.0, 0.0)
    assert opened.changed == 0 < closed.changed
    assert report.chance == pytest.approx(1 / 6)


def test_a_blurred_picture_is_found_and_one_of_another_size_keeps_its_faces():
    report = measured({"half": lambda image: image.resize((48, 32))}, faces=find)
    assert report.levels[0].linked["colours"].value == 1.0
    assert report.levels[0].faces.value == 1.0


def test_equal_originals_can_not_be_told_apart_and_count_as_not_found():
    measurement = UnlabelledMeasurement({"open": same}, {}, None)
    for _ in range(3):
        measurement.add(scene(1))
    assert measurement.report("made", 0).levels[0].linked["colours"].value == 0.0


def test_what_is_not_installed_is_said():
    report = measured({"open": same})
    assert report.levels[0].faces is None
    assert [each.partition(":")[0] for each in report.not_measured[1:]] == ["words", "faces"]


def test_one_picture_is_not_enough():
    with pytest.raises(DataError, match="two pictures or more"):
        measured({"open": same}, count=1)


def test_a_picture_of_one_colour_has_no_features():
    assert all(not each.any() for each in features(grey(scene(0))).values())


def test_the_command_writes_figures_and_a_page_with_before_and_after(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    for number in range(4):
        scene(number).save(tmp_path / "mine" / f"{number}.png")
    (tmp_path / "mine" / "broken.jpg").write_bytes(b"no picture")
    monkeypatch.setattr("trainer.attackers.words.readers.readers_named", lambda _names: {"given": read})
    out = tmp_path / "report.json"
    command = ["evaluate", "staff-cards", "--pictures", str(tmp_path / "mine"), "--out", str(out), "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report == json.loads(out.read_text())
    assert (report["pictures"], report["left_out"], len(report["levels"])) == (4, 1, 3)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img ") == 4 * 4
    assert "This page holds unprotected pictures" in page
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "give --data, or --pictures"),
        (("--pictures", "a", "--data", "b"), "--data"),
        (("--pictures", "a", "--model", "sandbox"), "--model"),
        (("--pictures", "nowhere"), "nowhere is no folder"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments, reason, tmp_path):
    done = CliRunner().invoke(
        app, ["evaluate", "staff-cards", *arguments, "--out", str(tmp_path / "report.json")]
    )
    assert done.exit_code == 2
    assert reason in done.stderr
