"""Every recipe runs from top to bottom."""

from pathlib import Path

import pytest

from tests.e2e.commands import Commands

RECIPES = sorted((Path(__file__).parents[2] / "cookbook").glob("[0-9]*.py"))


def test_recipes_are_numbered_without_a_gap():
    assert [recipe.name[:2] for recipe in RECIPES] == [
        f"{number:02d}" for number in range(1, len(RECIPES) + 1)
    ]
    assert len(RECIPES) >= 2
    listed = (RECIPES[0].parent / "README.md").read_text(encoding="utf-8")
    assert [recipe.name for recipe in RECIPES if f"({recipe.name})" not in listed] == []


@pytest.mark.slow(seconds=30)
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_recipe_runs_to_its_end(recipe, tmp_path):
    environment = {"VPP_SMOKE": "1", "TMPDIR": str(tmp_path), "LANGSMITH_TRACING": "false"}
    done = Commands(tmp_path).run_script(recipe, environment)
    assert done.code == 0, done.err[-3000:]


def test_a_recipe_that_fails_is_found(tmp_path):
    (tmp_path / "recipe.py").write_text("import os\nassert os.environ['VPP_SMOKE'] == '1'\n1 / 0\n")
    done = Commands(tmp_path).run_script(tmp_path / "recipe.py", {"VPP_SMOKE": "1"})
    assert done.code == 1
    assert "ZeroDivisionError" in done.err
