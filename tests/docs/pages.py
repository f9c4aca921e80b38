"""The documents of the repository: which there are, and what stands in them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


class Link(NamedTuple):
    page: Path
    target: str


def pages() -> list[Path]:
    """Every document that people read: those of the root, and the pages of the site."""
    built = {DOCS / "_build", DOCS / "reference" / "rooms"}
    site = (page for page in sorted(DOCS.rglob("*.md")) if built.isdisjoint(page.parents))
    return [*sorted(ROOT.glob("*.md")), *site]


def links(page: Path) -> Iterator[Link]:
    """Links and pictures of a page that lead to a file of the repository."""
    for token in _flat(_parsed(page)):
        target = token.attrGet("href") or token.attrGet("src")
        if isinstance(target, str) and "://" not in target and not target.startswith(("#", "mailto:")):
            yield Link(page, target.partition("#")[0])


def shell_commands(page: Path) -> Iterator[list[str]]:
    """Words of each line of the shell blocks of a page."""
    for token in _parsed(page):
        if token.type == "fence" and token.info.strip() == "sh":
            for line in token.content.splitlines():
                if words := shlex.split(line, comments=True):
                    yield words


def python_blocks(page: Path) -> int:
    return sum(token.type == "fence" and token.info.strip() == "python" for token in _parsed(page))


def _parsed(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def _flat(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _flat(token.children or [])
