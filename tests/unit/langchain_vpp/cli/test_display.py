"""Progress is lines of a log where there is no terminal, and colours follow NO_COLOR."""

from __future__ import annotations

import io

from rich.console import Console

from langchain_vpp.cli import display
from langchain_vpp.cli.display import Display, bars


def logged(monkeypatch, **settings):
    file = io.StringIO()
    monkeypatch.setattr(display, "console", lambda: Console(file=file, **settings))
    return file


def test_a_log_gets_a_line_for_every_ten_per_cent(monkeypatch):
    file = logged(monkeypatch, force_terminal=False)
    with bars() as shown:
        live = Display(shown)
        for done in range(1, 251):
            live.show("measure", done, 250, "2 lost")
    lines = file.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("measure: 25/250 (10 %) 2 lost")
    assert lines[-1].startswith("measure: 250/250 (100 %) 2 lost")
    assert "\x1b" not in file.getvalue()


def test_a_log_gets_a_line_for_each_of_few_steps_and_none_for_an_unknown_whole(monkeypatch):
    file = logged(monkeypatch, force_terminal=False)
    with bars() as shown:
        for _ in range(3):
            Display(shown).show("x", 1, 1)
        live = Display(shown)
        for done in range(5):
            live.show("convert", done, None)
    assert file.getvalue().count("x: 1/1 (100 %)") == 3
    assert "convert" not in file.getvalue()


def test_a_terminal_gets_bars_and_with_no_color_no_colours(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    file = logged(monkeypatch, force_terminal=True)
    with bars() as shown:
        Display(shown).show("measure", 1, 1)
    assert "measure" in file.getvalue()
    assert "\x1b[3" not in file.getvalue()  # colours; cursor movements are others
