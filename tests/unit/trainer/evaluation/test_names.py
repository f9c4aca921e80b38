"""The name `evaluate` is the function, however its module was imported."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow(seconds=7)
def test_evaluate_is_the_function_also_where_its_module_was_imported_first() -> None:
    code = (
        "import trainer.evaluation.evaluate\nimport trainer\n"
        "from trainer.evaluation import evaluate, EvaluationSettings, Phase, UNTESTED\n"
        "from trainer.evaluation.evaluate import evaluate as defined\n"
        "print(trainer.evaluate is trainer.evaluation.evaluate is evaluate is defined, callable(evaluate))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


def test_everything_that_the_package_names_is_there() -> None:
    import trainer.evaluation as package

    assert [name for name in package.__all__ if not hasattr(package, name)] == []
