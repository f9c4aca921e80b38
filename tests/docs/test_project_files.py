"""What the repository says of itself to machines: versions, the citation, forms, workflows."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from pathlib import Path

HEADING: Final = re.compile(r"^## (\d+\.\d+\.\d+) \((unreleased|\d{4}-\d\d-\d\d)\)$", re.MULTILINE)
FORMS: Final = sorted((ROOT / ".github").rglob("*.yml"))


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _versions(changelog: str) -> list[tuple[str, str]]:
    """Version and date of each section, the newest first."""
    versions = HEADING.findall(changelog)
    assert len(versions) == changelog.count("\n## "), "a heading is not a version with a date"
    return versions


def _released() -> tuple[str, str]:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return next(each for each in _versions(changelog) if each[1] != "unreleased")


def test_the_changelog_begins_with_the_version_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    newest, _ = _versions((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))[0]
    assert newest == project["version"].partition(".dev")[0]


def test_a_heading_without_a_date_is_found():
    assert _versions("\n## 1.2.0 (unreleased)\n\n## 1.1.0 (2026-01-31)\n") == [
        ("1.2.0", "unreleased"),
        ("1.1.0", "2026-01-31"),
    ]
    with pytest.raises(AssertionError):
        _versions("\n## Unreleased\n")


def test_the_citation_names_the_last_release_and_the_paper():
    citation = _yaml(ROOT / "CITATION.cff")
    assert (citation["version"], citation["date-released"]) == _released()
    (paper,) = citation["references"]
    assert paper["title"] == "When Visual Privacy Protection Meets Multimodal Large Language Models"
    assert {"cff-version", "message", "title", "authors", "license"} <= set(citation)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_forms_and_workflows_can_be_read(path):
    content = _yaml(path)
    assert isinstance(content, dict)
    if path.parent.name == "ISSUE_TEMPLATE" and path.name != "config.yml":
        assert {"name", "description", "body"} <= set(content)
        assert all({"type", "attributes"} <= set(field) for field in content["body"])


def test_workflows_run_nothing_but_make():
    (workflow,) = (ROOT / ".github" / "workflows").glob("*.yml")
    steps = [step for job in _yaml(workflow)["jobs"].values() for step in job["steps"] if "run" in step]
    assert sorted(step["run"] for step in steps) == [
        "make check",
        "make docs",
        "make lowest",
        "make scale",
        "make test",
    ]
