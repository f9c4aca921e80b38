"""The site builds without a warning, and its reference has an entry for every public name."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from sphinx.util.inventory import InventoryFile

from tests.docs.pages import DOCS, ROOT
from tests.made_once import made_once

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow(seconds=90)

PACKAGES = ("langchain_vpp", "trainer")


def _build(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-D",
        "toc_object_entries=0",  # copied into the navigation of every page, they take a fifth of the time
        "-b",
        "html",
        str(source),
        str(out),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    def build(folder: Path) -> None:
        done = _build(DOCS, folder / "html")
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "site", build) / "html"


def _entries(site: Path) -> set[str]:
    """Names of Python objects in the inventory of a site."""
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="").data
    return {name for kind, entries in inventory.items() if kind.startswith("py:") for name in entries}


def _public_names() -> dict[str, set[str]]:
    """Each class and function that a module defines -> the names under which it may have its entry.

    A package may offer what a module in it defines: then the entry is there.
    """
    names = {}
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            module = parts[:-1] if parts[-1] == "__init__" else parts
            if "cli" in module or any(part.startswith("_") for part in module):
                continue
            for node in ast.parse(file.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    paths = {".".join((*module[:end], node.name)) for end in range(1, len(module) + 1)}
                    if not node.name.startswith("_"):
                        names[".".join((*module, node.name))] = paths
    return names


def _missing(entries: set[str]) -> list[str]:
    return [name for name, paths in _public_names().items() if not paths & entries]


def test_every_public_name_has_an_entry(site):
    entries = _entries(site)
    assert len(_public_names()) > 300
    assert _missing(entries) == []
    import langchain_vpp
    import trainer

    for package in (langchain_vpp, trainer):
        assert [name for name in package.__all__ if f"{package.__name__}.{name}" not in entries] == []


def test_a_name_without_an_entry_is_found():
    every = {path for paths in _public_names().values() for path in paths}
    assert _missing(every) == []
    without = {path for path in every if not path.endswith(".FaceBlur")}
    assert [name.rpartition(".")[2] for name in _missing(without)] == ["FaceBlur"]


def test_the_map_for_language_models_is_at_the_root_and_names_pages_that_exist(site):
    text = (site / "llms.txt").read_text(encoding="utf-8")
    targets = [part.partition(")")[0] for part in text.split("](")[1:]]
    assert len(targets) > 10
    assert [target for target in targets if not (site / target).exists()] == []


def test_a_warning_fails_the_build(tmp_path):
    (tmp_path / "conf.py").write_text('extensions = ["myst_parser"]\n')
    page = tmp_path / "index.md"
    page.write_text("# Title\n\nText.\n")
    assert _build(tmp_path, tmp_path / "out").returncode == 0
    page.write_text("# Title\n\n[nowhere](missing.md)\n")
    done = _build(tmp_path, tmp_path / "out")
    assert done.returncode != 0
    assert "missing.md" in done.stderr
