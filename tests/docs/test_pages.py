"""Documents lead where they say, name commands and extras that exist, and the README stays short."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import typer

import langchain_vpp.moved
import trainer.moved
from langchain_vpp.cli.app import app
from tests.docs.pages import DOCS, ROOT, links, pages, shell_commands

if TYPE_CHECKING:
    from collections.abc import Iterator

USAGE_ERROR: Final = typer.BadParameter.__mro__[1]
"""Of the click that typer brings along."""
FILES: Final = re.compile(r"`((?:langchain_vpp|trainer|tests|docs|cookbook)/[\w./-]*)`")
EXTRAS: Final = re.compile(r"langchain-vpp\[([^\]]+)\]")


def _broken_links(page: Path) -> list[str]:
    return [link.target for link in links(page) if not (page.parent / link.target).exists()]


def _missing_files(text: str) -> list[str]:
    return [path for path in FILES.findall(text) if not (ROOT / path).exists()]


def _unknown_extras(text: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {extra for group in EXTRAS.findall(text) for extra in group.split(",")}
    return named - set(project["optional-dependencies"])


@pytest.fixture
def command(monkeypatch) -> Any:
    """The command line ``vpp``, which checks what it is given and does nothing."""
    monkeypatch.setattr(typer.core.TyperCommand, "invoke", lambda *_: None)
    whole = typer.main.get_command(app)
    assert {"protect", "inspect", "sandbox serve"} <= {path for path, _ in _leaves(whole)}
    return whole


def _leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "list_commands"):
        context = command.context_class(command)
        for name in command.list_commands(context):
            yield from _leaves(command.get_command(context, name), (*path, name))
    else:
        yield " ".join(path), command


def _check(command: Any, words: list[str]) -> None:
    command.main(words[1:], prog_name="vpp", standalone_mode=False)


def test_there_are_documents():
    assert {"README.md", "docs/quickstart.md", "docs/training/train.md"} <= {
        page.relative_to(ROOT).as_posix() for page in pages()
    }


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files(page):
    assert _broken_links(page) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "[here](page.md), [there](missing.md#part), ![picture](gone.png), [web](https://example.com)"
    )
    assert _broken_links(page) == ["missing.md", "gone.png"]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_in_documents_exist(page):
    if page.name != "CHANGELOG.md":  # it tells of files that have gone
        assert _missing_files(page.read_text(encoding="utf-8")) == []


def test_a_file_that_does_not_exist_is_found():
    assert _missing_files("`trainer/`, `trainer/utils/` and `langchain_vpp/errors.py`") == ["trainer/utils/"]


def test_commands_in_documents_exist_with_their_options(command):
    lines = [words for page in pages() for words in shell_commands(page) if words[0] == "vpp"]
    assert len(lines) > 10
    for words in lines:
        _check(command, words)


@pytest.mark.parametrize(
    "line", ["vpp protekt photo.jpg --out x", "vpp train --dta DIR", "vpp protect photo.jpg"]
)
def test_a_command_that_does_not_exist_is_found(command, line):
    with pytest.raises(USAGE_ERROR):
        _check(command, line.split())


def test_the_guide_to_the_command_line_names_every_command(command):
    guide = (DOCS / "guides" / "command_line.md").read_text(encoding="utf-8")
    assert [path for path, _ in _leaves(command) if f"`vpp {path}" not in guide] == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_extras_in_documents_exist(page):
    assert _unknown_extras(page.read_text(encoding="utf-8")) == set()


def test_an_extra_that_does_not_exist_is_found():
    assert _unknown_extras("pip install 'langchain-vpp[documents,nonsense]'") == {"nonsense"}


def test_the_quickstart_names_every_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    features = set(project["optional-dependencies"]) - {"test", "docs", "dev"}
    text = (DOCS / "quickstart.md").read_text(encoding="utf-8")
    assert [extra for extra in sorted(features) if f"| `{extra}` |" not in text] == []


def test_the_page_about_upgrading_names_every_module_and_name_that_moved():
    page = (DOCS / "upgrading.md").read_text(encoding="utf-8")
    moved = [
        each for module in (langchain_vpp.moved, trainer.moved) for each in (module.HOMES | module.RENAMED)
    ]
    assert len(moved) > 50
    assert [old for old in moved if f"| `{old}` |" not in page] == []


def test_every_guide_answers_a_question():
    guides = {page.name for page in (DOCS / "guides").glob("*.md")}
    answered = {Path(link.target).name for link in links(DOCS / "guides" / "faq.md")}
    assert sorted(guides - answered - {"faq.md"}) == []


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 100
