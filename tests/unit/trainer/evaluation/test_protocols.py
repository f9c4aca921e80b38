"""The row of the paper stands beside ours, with the floors of chance and what stands in for what."""

from __future__ import annotations

import pytest
from PIL import Image

from langchain_vpp.errors import DataError
from tests.made_reports import point, reading, report
from tests.unit.trainer.data.data_folder import line, write
from trainer.data.dataset import load_dataset
from trainer.evaluation.protocols import PROTOCOLS, measured, protocol_named
from trainer.reporting.protocols import protocol_table


@pytest.fixture
def dataset(tmp_path):
    """Of ten test pictures, two show sports and five a face."""
    entries = []
    for number in range(14):
        Image.new("RGB", (16, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
        private = {"sports": "yes" if number in {0, 4, 5} else "no", "face": ("yes", "no")[number % 2]}
        split = ("train", "train", "val", "val", *["test"] * 10)[number]
        entries.append(line(f"{number}.png", split, private=private))
    write(tmp_path, entries)
    return load_dataset(tmp_path)


def read(level: float, sports: float, face: float):
    precise = [
        reading(name, 0.5).model_copy(update={"class_precisions": {"yes": value, "no": 0.9}})
        for name, value in (("sports", sports), ("face", face))
    ]
    tasks = (reading("A?", 0.9, chance=0.5, count=30), reading("B?", 0.5, chance=0.25, count=10))
    return point("ours", level, 0.3, 0.5).model_copy(update={"attributes": tuple(precise), "tasks": tasks})


def test_cmap_is_the_mean_over_having_an_attribute_and_its_floor_their_prevalence(dataset):
    found = measured(read(0.5, 0.4, 0.8), dataset)
    assert found.leak == pytest.approx(0.6)
    assert found.leak_floor == pytest.approx((0.2 + 0.5) / 2)
    assert found.utility == pytest.approx((0.9 * 30 + 0.5 * 10) / 40)
    assert found.utility_floor == pytest.approx((0.5 * 30 + 0.25 * 10) / 40)


def test_the_table_has_the_paper_ours_the_originals_the_floors_and_the_stand_ins(dataset):
    whole = report().model_copy(
        update={"points": (read(0.5, 0.4, 0.8), read(1.0, 0.2, 0.5)), "originals": read(0.0, 1.0, 1.0)}
    )
    table = protocol_table(whole, dataset, PROTOCOLS["okvqa"])
    lines = [[cell.line for cell in row.cells] for row in table.rows]
    assert lines[0] == ["paper (Hui et al., 2026)", "57.6 and 59.2", "44.2"]
    assert lines[1:] == [
        ["ours, level 0.5", "80.0", "60.0"],
        ["ours, level 1", "80.0", "35.0"],
        ["originals", "80.0", "100.0"],
        ["chance: commonest answer, class prevalence", "43.8", "35.0"],
    ]
    assert "'people' (none, one, several) stands in" in table.caption


def test_spact_stands_beside_the_paper_on_vispr_and_films_have_a_row(dataset):
    def rows(name):
        return [
            [cell.line for cell in row.cells]
            for row in protocol_table(report(), dataset, PROTOCOLS[name]).rows
        ]

    assert rows("vispr")[1] == ["SPAct, as the paper reports it", "-", "55.9 and 56.5"]
    assert (rows("hmdb51")[0][1:], rows("ucf101")[0][1:]) == (["54.3", "59.8"], ["67.1", "54.6"])


def test_an_unknown_protocol_is_refused():
    with pytest.raises(DataError, match=r"there is no protocol 'imagenet'\. Choose from okvqa, vispr"):
        protocol_named("imagenet")
