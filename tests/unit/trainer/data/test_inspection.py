"""All faults of a data set are told at once, and whether it is large enough."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from langchain_vpp.cli.app import app
from langchain_vpp.errors import DataError
from tests.unit.trainer.data.data_folder import TASK, line, lines, write
from trainer.data.inspection import inspect_data
from trainer.data.review import Said, write_said


def good(folder, count=60, **fields):
    entries = []
    for number in range(count):
        Image.effect_noise((16, 8), 40 + number).convert("RGB").save(folder / f"n{number}.png")
        split = ("train", "train", "val", "test")[number % 4]
        task = TASK | {"answer": ("red", "blue")[number // 8 % 2]}
        entries.append(line(f"n{number}.png", split, "fm"[number // 4 % 2], tasks=[task], **fields))
    write(folder, entries)


def test_every_fault_is_told_with_line_and_remedy(folder):
    (folder / "3.png").write_bytes(b"no picture")
    entries = [*lines(), "{", line("9.png"), line("1.png"), line("5.png", "test", group="g"), line("5.png")]
    entries[0]["group"] = "g"
    write(folder, entries)
    found = inspect_data(folder)
    told = {(fault.line, fault.what.partition(":")[0][:28]) for fault in found.faults}
    assert {(5, "not JSON"), (6, "there is no image '9.png'"), (7, "the image of line 1 again")} <= told
    assert {number for number, _ in told} == {None, 3, 5, 6, 7, 8, 9}
    assert all(fault.remedy for fault in found.faults)
    assert found.expected == ()


def test_intervals_are_foreseen_from_independent_pictures(folder):
    good(folder)
    gender, tasks = inspect_data(folder).expected
    assert (gender.pictures, gender.groups, gender.subject) == (15, 15, "gender")
    assert gender.half_width == pytest.approx(0.48, abs=0.01)  # of 15 by Wilson, over 1 - 8/15
    assert (tasks.pictures, tasks.enough) == (15, 97)
    good(folder, group=None)
    entries = [json.loads(each) for each in (folder / "data.jsonl").read_text().splitlines()]
    for number, entry in enumerate(entries):
        entry["group"] = f"{entry['split']} {number % 8}"
    write(folder, entries)
    assert inspect_data(folder).expected[0].groups == 2


def test_a_data_set_that_lacks_answers_says_how_to_give_them(folder):
    write_said(folder / "answers.csv", [Said("n0.png", "What?", "red"), Said("n9.png", "What?", "")])
    with pytest.raises(DataError, match=r"no picture had an answer.*vpp studio --label.*same vpp data init"):
        inspect_data(folder)
    good(folder)
    assert not any("run the same vpp data init" in each for each in inspect_data(folder).warnings)
    write_said(folder / "answers.csv", [Said("new.png", "What?", "red"), Said("n9.png", "What?", "")])
    assert any("1 pictures with an answer" in each for each in inspect_data(folder).warnings)


def test_rare_classes_and_pictures_that_look_alike_in_two_splits_are_told(folder):
    good(folder)
    scene = Image.effect_mandelbrot((96, 64), (-2.2, -1.2, 0.8, 1.2), 40).convert("RGB")
    scene.save(folder / "n0.png")
    scene.resize((90, 60)).save(folder / "n3.png")
    told = inspect_data(folder).warnings
    assert any("1 pairs of pictures look alike" in each and "lines 1 and 4" in each for each in told)
    assert any("class 'f' of 'gender' has 16 pictures in train and 8 in test" in each for each in told)


def test_the_command_lists_faults_and_has_an_exit_code(folder):
    write(folder, [*lines(), line("9.png")])
    done = CliRunner().invoke(app, ["data", "check", str(folder), "--json"])
    assert done.exit_code == 2
    shown = json.loads(done.stdout)
    assert [fault["line"] for fault in shown["faults"]] == [5]
    assert shown["large_enough"] is False
    assert "has 1 fault" in done.stderr
    good(folder)
    done = CliRunner().invoke(app, ["data", "check", str(folder)])
    assert done.exit_code == 0, done.stderr
    assert "is small: intervals will be wide" in done.stderr
