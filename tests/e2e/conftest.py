from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.domains import fit_to_few_pictures
from tests.e2e.commands import Commands, FinishedRun
from tests.made_once import made_once
from trainer.sandbox.drawing.scenes import make_data

if TYPE_CHECKING:
    from pathlib import Path

BROWSERS = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome", "chrome")
QUIET = (
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
)  # fmt: skip
TINY = {
    "steps": 12,
    "pretraining_steps": 6,
    "batch": 4,
    "student_batch": 4,
    "student_steps": 1,
    "checkpoint_every": 5,
    "validation": 0.25,
    "max_queries": 60,
    "max_concurrency": 4,
    "reader_width": 24,
    "protector": {"width": 8, "blocks": [1, 1, 1], "working_resolution": 64},
}


@pytest.fixture(autouse=True)
def _few_pictures(monkeypatch):
    """Runs in the process of the tests fit their domains as those of commands do."""
    fit_to_few_pictures(monkeypatch)


# While its driver runs, an event loop runs in this thread, and asynchronous tests of other modules could not.
@pytest.fixture(scope="module")
def browser():
    """A real browser that all tests of a module share, each with contexts of its own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=executable, args=QUIET)
        yield running
        running.close()


@pytest.fixture(scope="module")
def vpp(tmp_path_factory) -> Commands:
    return Commands(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """A few drawn scenes, which no test may change."""

    def draw(folder: Path) -> None:
        make_data(folder / "data", train=40, val=10, test=10, seed=0)

    return made_once(tmp_path_factory, "scenes", draw) / "data"


@pytest.fixture(scope="session")
def finished(data, tmp_path_factory) -> FinishedRun:
    """A run of ``vpp train`` that came to its end, for tests that are about what is left of it."""

    def finish(folder: Path) -> None:
        (folder / "config.json").write_text(json.dumps(TINY))
        run, commands = FinishedRun(folder), Commands(folder)
        with commands.sandbox(run.requests) as server:
            done = commands.run(*run.arguments(data, server.base_url), "--out", run.out, "--json")
        assert done.code == 0, done.err
        run.printed.write_text(done.out)
        run.told.write_text(done.err)

    return FinishedRun(made_once(tmp_path_factory, "finished", finish))


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A sandbox that all tests of a process ask: only differences between its counts say something."""
    folder = tmp_path_factory.mktemp("sandbox")
    with Commands(folder).sandbox(folder / "requests.jsonl") as running:
        yield running


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TINY))
    return path
