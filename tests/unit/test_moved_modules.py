"""Module paths and names of version 0.1: each imports, with a warning that names the new path."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings

import pytest

import langchain_vpp.moved
import trainer.moved

MOVED = {**langchain_vpp.moved.HOMES, **trainer.moved.HOMES}
RENAMED = {**langchain_vpp.moved.RENAMED, **trainer.moved.RENAMED}
# Names that people may have imported from their old places.
USED = (
    "langchain_vpp.chat_model.protect",
    "langchain_vpp.protection.ImageProtector",
    "langchain_vpp.protection.Receipt",
    "langchain_vpp.ingress.ProtectedRunnable",
    "langchain_vpp.pixels.decode_image",
    "langchain_vpp.provider_sizes.fit_size",
    "langchain_vpp.protector.ProtectorConfig",
    "langchain_vpp.folders.protect_files",
    "trainer.run.Trainer",
    "trainer.run.Progress",
    "trainer.config.TrainerConfig",
    "trainer.ledger.Ledger",
    "trainer.ledger.Query",
    "trainer.assessor.Assessor",
    "trainer.algorithms.estimators.UtilityEstimator",
    "trainer.algorithms.estimators.DistilledStudent",
    "trainer.measurements.Report",
    "trainer.measurements.bootstrap_mean",
    "trainer.report.save_json",
    "trainer.html_report.save_html",
    "trainer.sandbox.scenes.make_data",
)
STILL_THERE = (
    "langchain_vpp.engines.Blur",
    "langchain_vpp.middleware.VisualPrivacyMiddleware",
    "trainer.data.load_dataset",
    "trainer.data.as_tensor",
    "trainer.evaluation.EvaluationSettings",
    "trainer.evaluation.evaluate",
    "trainer.oracle.Oracle",
    "trainer.export.export",
    "trainer.export.recheck",
)


def name_from(path: str):
    module, _, name = path.rpartition(".")
    scope: dict[str, object] = {}
    exec(f"from {module} import {name}", scope)  # as people write it
    return scope[name]


@pytest.mark.parametrize("old", sorted(MOVED))
def test_an_old_module_path_warns_and_names_the_new_one(old):
    sys.modules.pop(old, None)
    with pytest.warns(FutureWarning, match=f"{old} is now {MOVED[old][0]}"):
        importlib.import_module(old)


@pytest.mark.parametrize("path", [*USED, *RENAMED])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_name_from_its_old_place_is_the_one_of_today(path):
    module, _, name = path.rpartition(".")
    today = RENAMED.get(path, name)
    homes = [importlib.import_module(home) for home in MOVED[module]]
    assert name_from(path) is next(getattr(home, today) for home in homes if hasattr(home, today))


@pytest.mark.parametrize("path", STILL_THERE)
def test_places_that_stay_do_not_warn(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert callable(name_from(path))


@pytest.mark.parametrize("package", ["evaluation.evaluate", "export.export"])
def test_a_function_keeps_its_name_when_its_module_is_imported(package):
    function = name_from(f"trainer.{package}")
    importlib.import_module(f"trainer.{package}")
    assert name_from(f"trainer.{package}") is function


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_name_that_is_gone_and_a_module_that_never_was_are_refused():
    with pytest.raises(ImportError, match="no_such_name"):
        name_from("trainer.run.no_such_name")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("trainer.never_was")


@pytest.mark.slow(seconds=3)
def test_the_warning_points_at_the_line_that_imports(tmp_path):
    script = tmp_path / "mine.py"
    script.write_text("x = 1\nfrom trainer.run import Trainer\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert f"{script}:2: FutureWarning: trainer.run is now trainer.training.trainer" in done.stderr
