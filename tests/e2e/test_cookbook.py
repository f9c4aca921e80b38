"""Every recipe runs from top to bottom."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = sorted((Path(__file__).parents[2] / "cookbook").glob("[0-9]*.py"))


def test_recipes_are_numbered_without_a_gap():
    assert [recipe.name[:2] for recipe in RECIPES] == [
        f"{number:02d}" for number in range(1, len(RECIPES) + 1)
    ]
    assert len(RECIPES) >= 2


@pytest.mark.slow(seconds=30)
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_recipe_runs_to_its_end(recipe, tmp_path):
    environment = {**os.environ, "VPP_SMOKE": "1", "TMPDIR": str(tmp_path), "LANGSMITH_TRACING": "false"}
    done = subprocess.run(
        [sys.executable, str(recipe)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
