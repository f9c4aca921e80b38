"""A live chat model against a manifest: the interval, what can't be compared, and what is asked."""

from __future__ import annotations

import json
import shutil

import pytest

from langchain_vpp.artifact import read_manifest
from langchain_vpp.errors import ArtifactError
from tests.chat_models import LookingModel
from tests.e2e.conftest import TINY
from trainer import Trainer, TrainerConfig, load_dataset
from trainer.evaluation.drift import DriftCheck, DriftPoint
from trainer.reporting.tables import drift_table
from trainer.sandbox.chat_model import SandboxChatModel
from trainer.sandbox.drawing.scenes import make_data
from trainer.statistics import ConfidenceInterval


class Parrot(LookingModel):
    """Always gives the first choice."""

    model_name: str = "parrot"

    def reply(self, text, pixels):
        return text.rpartition("exactly one of: ")[2].partition(",")[0]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "data"
    make_data(folder, train=20, val=12, test=4, seed=0)
    return load_dataset(folder)


@pytest.fixture(scope="module")
def artifact(dataset, tmp_path_factory):
    settings = TINY | {
        "estimator": "none", "steps": 2, "pretraining_steps": 2, "max_queries": 200, "validation": 0.75,
        "seed": 5,
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("trained") / "run"
    return Trainer(SandboxChatModel(), dataset, TrainerConfig.model_validate(settings)).fit(folder)


@pytest.mark.trains
def test_the_front_is_measured_again_exactly_by_the_model_of_the_training(artifact, dataset, tmp_path):
    front = read_manifest(artifact)[0].front
    assert [point.answers for point in front] == [30] * 5
    report = DriftCheck(artifact, dataset).measure(SandboxChatModel(), ledger=tmp_path / "ledger.sqlite")
    assert [point.live.value for point in report.points] == pytest.approx([point.utility for point in front])
    assert not report.drifted
    assert report.warnings == ()


@pytest.mark.trains
def test_another_model_has_drifted(artifact, dataset, tmp_path):
    parrot = Parrot()
    report = DriftCheck(artifact, dataset).measure(parrot, ledger=tmp_path / "ledger.sqlite")
    assert report.drifted
    assert len(report.warnings) == 5
    assert len(parrot.calls) == report.paid
    assert [row.cells[-1].text for row in drift_table(report).rows] == ["drifted"] * 5


@pytest.mark.trains
def test_fewer_questions_are_the_first_of_the_manifests_and_give_a_wider_interval(
    artifact, dataset, tmp_path
):
    whole, part = DriftCheck(artifact, dataset), DriftCheck(artifact, dataset, queries_per_point=10)
    assert len(part.queries) == 50
    assert set(part.queries) <= set(whole.queries)
    assert len(DriftCheck(artifact, dataset, queries_per_point=1000).queries) == len(whole.queries) == 150
    models = SandboxChatModel(), SandboxChatModel()
    reports = [
        check.measure(model, ledger=tmp_path / f"{number}.sqlite")
        for number, (check, model) in enumerate(zip((whole, part), models, strict=True))
    ]
    widths = [sum(point.live.high - point.live.low for point in report.points) for report in reports]
    assert widths[1] > widths[0]
    assert reports[1].resolution > reports[0].resolution > 0
    assert not reports[1].drifted


@pytest.mark.trains
def test_no_original_is_among_the_queries(artifact, dataset):
    files = {(dataset.folder / example.image).read_bytes() for example in dataset.examples}
    assert not files & {query.image for query in DriftCheck(artifact, dataset).queries}


@pytest.mark.parametrize(
    "change", [lambda front: [], lambda front: [each | {"answers": 0} for each in front]]
)
@pytest.mark.trains
def test_a_manifest_that_does_not_say_how_it_was_measured_is_refused(artifact, dataset, tmp_path, change):
    shutil.copytree(artifact, tmp_path, dirs_exist_ok=True)
    manifest = json.loads((artifact / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"front": change(manifest["front"])}))
    with pytest.raises(ArtifactError, match="on how many answers its front rests"):
        DriftCheck(tmp_path, dataset)


@pytest.mark.parametrize(
    ("manifest", "drifted"), [(0.5, False), (0.4, False), (0.39, True), (0.61, True), (0.6, False)]
)
def test_a_level_has_drifted_if_the_manifest_lies_outside_the_interval(manifest, drifted):
    live = ConfidenceInterval(value=0.5, low=0.4, high=0.6)
    assert DriftPoint(level=0.5, manifest=manifest, live=live, answers=40, refused=0).drifted is drifted


def test_a_level_without_an_answer_is_not_called_drifted():
    assert not DriftPoint(level=0.5, manifest=0.9, live=None, answers=0, refused=0).drifted
