"""What is installed is what is imported: no dependency too many, none too few, no extra that nothing uses."""

from __future__ import annotations

import ast
import functools
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
TOOLS = {"test", "docs", "dev"}
MODULES = {"dlib-bin": "dlib", "pillow": "PIL", "pillow-heif": "pillow_heif"}
"""Modules of packages that are named otherwise."""
UNIMPORTED = {
    "pillow-heif": "Pillow opens HEIC with it, once the user has registered it",
    "tensorboard": "torch.utils.tensorboard imports it",
}
BY_NAME = {"extras.load", "extras.find", "extras.folder", "extras.require", "require", "fast_module"}
"""Calls that import a module, or look for it."""
OURS = {"langchain_vpp", "trainer"}


def module_of(requirement: str) -> str:
    name = re.match(r"[\w-]+", requirement)[0]
    return MODULES.get(name, name.replace("-", "_"))


def own(extra: str) -> list[str]:
    """Requirements of an extra but those of other extras."""
    return [each for each in EXTRAS[extra] if not each.startswith("langchain-vpp[")]


@functools.cache
def sources(package: str) -> dict[Path, str]:
    return {path: path.read_text() for path in sorted((ROOT / package).rglob("*.py"))}


@functools.cache
def imported(source: str) -> set[str]:
    """Modules that are imported anywhere but for type checkers, or loaded by name."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in BY_NAME:
            found.update(
                each.value
                for each in node.args
                if isinstance(each, ast.Constant) and isinstance(each.value, str)
            )
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(source))
    return found


def uses(module: str, *packages: str) -> bool:
    return any(
        each == module or each.startswith(module + ".") or module.startswith(each + ".")
        for package in packages
        for source in sources(package).values()
        for each in imported(source)
    )


@pytest.mark.slow(seconds=0.06)
@pytest.mark.parametrize("requirement", PROJECT["dependencies"])
def test_every_dependency_is_imported_by_the_runtime(requirement):
    assert uses(module_of(requirement), "langchain_vpp")


@pytest.mark.slow(seconds=4)
@pytest.mark.parametrize("extra", sorted(set(EXTRAS) - TOOLS - {"all"}))
def test_every_extra_is_imported_by_some_line(extra):
    assert own(extra)
    for requirement in own(extra):
        name = re.match(r"[\w-]+", requirement)[0]
        assert name in UNIMPORTED or uses(module_of(requirement), "langchain_vpp", "trainer"), requirement


def test_all_is_every_feature():
    (everything,) = EXTRAS["all"]
    assert set(everything.removeprefix("langchain-vpp[").removesuffix("]").split(",")) == set(
        EXTRAS
    ) - TOOLS - {"all"}


def test_the_runtime_imports_nothing_else():
    """Anything that is not a dependency belongs to an extra, and is imported inside a function or after its check."""
    allowed = {module_of(each).split(".")[0] for each in PROJECT["dependencies"]} | OURS
    extras = {module_of(each).split(".")[0] for name in set(EXTRAS) - TOOLS for each in own(name)}
    for source in sources("langchain_vpp").values():
        roots = {each.split(".")[0] for each in imported(source)} - set(sys.stdlib_module_names) - allowed
        assert roots <= extras | {"cv2"}


def test_optional_packages_are_looked_for_in_one_place():
    """A missing package is one error everywhere, so nobody else catches its import error."""
    allowed = {
        "langchain_vpp/extras.py",
        "langchain_vpp/cli/app.py",  # commands of other packages
        "trainer/oracle/model_spec.py",  # the packages of chat models' providers
    }
    catching = {
        path.relative_to(ROOT).as_posix()
        for package in sorted(OURS)
        for path, source in sources(package).items()
        if re.search(
            r"except \(?(ImportError|ModuleNotFoundError)|suppress\(ImportError|(?<!def )\bfind_spec\(",
            source,
        )
    }
    assert catching == allowed


def test_both_packages_are_typed_and_no_registry_is_named():
    assert (ROOT / "langchain_vpp/py.typed").exists()
    assert (ROOT / "trainer/py.typed").exists()
    assert PROJECT["urls"]
    assert all(each.startswith("https://github.com/") for each in PROJECT["urls"].values())
