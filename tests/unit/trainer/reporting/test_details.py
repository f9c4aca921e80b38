"""Detailed tables: counts of several kinds of pictures are added up, and nothing is left out."""

from __future__ import annotations

import pytest

from tests.made_reports import full_report, other_pictures
from trainer.reporting.details import other_pictures_table
from trainer.reporting.markdown import for_markdown
from trainer.statistics import wilson

_PRESETS = {"balanced": 0.5, "high": 1.0}


def _cells(table, heading):
    section = next(each for each in table.sections if each.heading.startswith(heading))
    return {row.cells[0].text: row.cells[1:] for row in section.rows}


def test_other_pictures_have_a_row_for_each_kind_way_and_item():
    table = other_pictures_table(full_report(), _PRESETS)
    assert [(each.heading, each.note) for each in table.columns[2:]] == [
        ("originals", ""),
        ("level 0.5", "balanced"),
        ("level 1", "high"),
        ("one grey", ""),
    ]
    kinds = _cells(table, "kind of picture")
    assert list(kinds) == ["all kinds", "letter", "chat"]
    assert [cell.content for cell in kinds["letter"]] == [20, 1, 9 / 20, 3 / 20, 0]
    assert [cell.content for cell in kinds["all kinds"]] == [40, 1, 18 / 40, 6 / 40, 0]
    assert kinds["all kinds"][2].interval == pytest.approx(wilson(18 / 40, 40))
    assert kinds["all kinds"][2].note == "(15% by chance)"
    assert [cell.content for cell in _cells(table, "way")["turned"]] == [10, 1, 4 / 10, 0, 0]
    assert [cell.content for cell in _cells(table, "kind of private")["name of a pet"]] == [
        20,
        1,
        0.4,
        0.1,
        0,
    ]


def test_items_that_only_some_kinds_hold_are_counted_where_they_are():
    letters, chats = other_pictures("letter"), other_pictures("chat", subject="phone")
    measured = full_report().model_copy(update={"other_pictures": (*letters, *chats)})
    items = _cells(other_pictures_table(measured, {}), "kind of private")
    assert {name: cells[0].content for name, cells in items.items()} == {
        "name": 20, "name of a pet": 10, "phone": 20, "phone of a pet": 10,
    }  # fmt: skip


def test_a_report_without_other_pictures_has_no_rows():
    table = other_pictures_table(full_report().model_copy(update={"other_pictures": ()}), _PRESETS)
    assert table.sections == ()


def test_in_markdown_a_line_names_counts_share_interval_and_chance():
    lines = for_markdown(other_pictures_table(full_report(), _PRESETS)).splitlines()
    assert "| all kinds | 40 | 100% [91, 100] (30% by chance) | 45% [31, 60] (15% by chance) |" in "\n".join(
        lines
    )
