"""The data set of pages with known words, and runs on it."""

from __future__ import annotations

import pytest

from tests.unit.trainer.training.admission.pages import SETTINGS, KnownWords, LookingAtWords, save_pages
from trainer.training.admission.config import AdmissionConfig
from trainer.training.admission.run import AdmissionTrainer


@pytest.fixture(scope="package")
def dataset(tmp_path_factory):
    return save_pages(tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="package")
def make_trainer(dataset):
    def make(model=None, reader=None, **changes):
        return AdmissionTrainer(
            model or LookingAtWords(),
            dataset,
            AdmissionConfig.model_validate(SETTINGS | changes),
            reader=reader or KnownWords(),
        )

    return make


@pytest.fixture(scope="package")
def finished(make_trainer, tmp_path_factory):
    """Folder of a run that was not interrupted."""
    return make_trainer().fit(tmp_path_factory.mktemp("finished") / "run")
