"""A protector and an assessor that have learned before, in place of new ones."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from langchain_vpp.artifact import load_protector, read_manifest
from langchain_vpp.errors import TrainingError
from tests.e2e.conftest import TINY
from tests.untrained import small_protector
from trainer import Trainer, TrainerConfig, load_dataset
from trainer.data.contamination import check_unseen
from trainer.sandbox.chat_model import SandboxChatModel
from trainer.sandbox.drawing.scenes import make_data
from trainer.sandbox.vision.adapters import AttributeReader
from trainer.sandbox.vision.local_model import LocalVisionModel
from trainer.training.assessor import Assessor
from trainer.training.step import TrainingStep

_QUIET = TINY | {"seed": 3, "estimator": "none", "max_queries": 0, "steps": 2, "pretraining_steps": 2}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "data"
    make_data(folder, train=24, val=8, test=4, seed=0)
    return load_dataset(folder)


def config(**changes) -> TrainerConfig:
    return TrainerConfig.model_validate(_QUIET | changes)


def distance(folder, protector) -> float:
    weights = load_file(folder / "model.safetensors")
    return max(float((weights[name] - value).abs().max()) for name, value in protector.state_dict().items())


@pytest.mark.trains
def test_training_goes_on_from_a_given_protector_and_says_so(dataset, tmp_path):
    start = small_protector()
    before = {name: value.clone() for name, value in start.state_dict().items()}
    given = Trainer(SandboxChatModel(), dataset, config(learning_rate=1e-6), protector=start).fit(
        tmp_path / "a"
    )
    new = Trainer(SandboxChatModel(), dataset, config(learning_rate=1e-6)).fit(tmp_path / "b")
    assert distance(given, start) < 1e-4
    assert distance(new, start) > 0.01
    assert all(torch.equal(before[name], value) for name, value in start.state_dict().items())
    manifest = read_manifest(given)[0]
    assert len(manifest.started_from) == 64
    assert read_manifest(new)[0].started_from == ""
    # What the weights to start from had seen is not known here.
    assert "whether those saw the test images can't be told" in check_unseen(given, manifest, dataset)
    assert check_unseen(new, read_manifest(new)[0], dataset) is None


@pytest.mark.trains
@pytest.mark.parametrize(
    ("recolour", "ends_grey"),
    [("faded", (True, False, True)), ("grey", (True, False, True)), ("learned", (False, False, False))],
)
def test_what_is_hidden_ends_grey_or_drawn(dataset, tmp_path, recolour, ends_grey):
    drawing, grey = small_protector(), small_protector()
    grey.draw(0.0)
    found = []
    for number, start in enumerate((None, drawing, grey)):
        trainer = Trainer(SandboxChatModel(), dataset, config(recolour=recolour), protector=start)
        found.append(load_protector(trainer.fit(tmp_path / str(number)))[0].hides_in_grey)
    assert tuple(found) == ends_grey


def test_a_drawing_fades_between_three_and_six_tenths_of_the_steps():
    def shares(recolour, start=None):
        chosen = config(recolour=recolour, steps=100)
        step = TrainingStep(chosen, None, None, None, start=start)
        return [step.drawn_share(taken) for taken in (0, 30, 45, 60, 100, 130)]

    grey = small_protector()
    grey.draw(0.0)
    assert shares("faded") == pytest.approx([1, 1, 0.5, 0, 0, 0])
    assert shares("faded", grey) == shares("grey") == [0] * 6
    assert (
        shares("faded", small_protector())
        == shares("grey", small_protector())
        == shares("learned")
        == [1] * 6
    )


def test_a_protector_of_another_shape_is_refused_and_knots_do_not_matter(dataset):
    start = small_protector(resolution=32)
    with pytest.raises(
        TrainingError, match=r"not of the shape that config\.protector asks for; nothing was sent"
    ):
        Trainer(SandboxChatModel(), dataset, config(), protector=start)
    calibrated = small_protector()
    calibrated.config = calibrated.config.model_copy(update={"level_knots": (0.0, 0.1, 1.0)})
    Trainer(SandboxChatModel(), dataset, config(), protector=calibrated)


@pytest.mark.trains
def test_a_run_is_not_resumed_from_another_start(dataset, tmp_path):
    Trainer(SandboxChatModel(), dataset, config(), protector=small_protector()).fit(tmp_path)
    for other in (None, small_protector()):
        if other is not None:
            nn.init.zeros_(other.stem.weight)
        with pytest.raises(TrainingError, match="belongs to other settings"):
            Trainer(SandboxChatModel(), dataset, config(), protector=other).fit(tmp_path, resume=True)


def closed_protector():
    """One whose mask lets hardly anything through, and has a gradient."""
    closed = small_protector()
    with torch.no_grad():
        closed.head.weight.zero_()
        closed.head.bias.zero_()
        closed.head.bias[48:] = -2.0
    return closed


@pytest.mark.trains
def test_what_the_start_hid_is_not_shown_again(dataset, tmp_path):
    closed = closed_protector()
    images = dataset.pixels(dataset.split("val"), 64).float() / 255
    stands_out = {}
    for penalty in (0.0, 20.0):
        settings = config(
            steps=40,
            learning_rate=5e-3,
            fidelity=4.0,
            grey_penalty=0.0,
            reveal_penalty=penalty,
            recolour="learned",
        )
        out = Trainer(SandboxChatModel(), dataset, settings, protector=closed).fit(tmp_path / str(penalty))
        protector, _, _ = load_protector(out)
        with torch.no_grad():
            shown = protector.at_network_level(images, torch.zeros(len(images)))
        stands_out[penalty] = float((shown - 0.5).abs().mean())
    assert stands_out[0.0] > 0.02
    assert stands_out[20.0] < 0.3 * stands_out[0.0]


@pytest.mark.trains
def test_a_given_assessor_needs_no_lessons_and_follows_the_protector(dataset, tmp_path):
    attributes = dataset.private_attributes
    network = AttributeReader(attributes, LocalVisionModel.load())
    assessor = Assessor(attributes, network, learning_rate=3e-4)
    images, level = dataset.pixels(dataset.split("val"), 64).float() / 255, torch.zeros(8)
    logits = assessor(images, level)
    assert logits.shape == (8, len(attributes), max(map(len, attributes.values())))
    for column, classes in enumerate(attributes.values()):
        assert torch.isneginf(logits[:, column, len(classes) :]).all()
        assert torch.isfinite(logits[:, column, : len(classes)]).all()
    read = float((logits.argmax(-1) == dataset.labels(dataset.split("val"))).float().mean())
    assert read > 0.9  # it has learned before
    before = {name: value.clone() for name, value in network.state_dict().items()}
    phases = []
    Trainer(SandboxChatModel(), dataset, config(), assessor=assessor).fit(
        tmp_path, on_progress=lambda progress: phases.append(progress.phase)
    )
    assert "assessor" not in phases
    assert any(not torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_an_assessor_of_other_attributes_is_refused(dataset):
    attributes = dict(reversed(dataset.private_attributes.items()))
    with pytest.raises(
        TrainingError, match="other private attributes than the data set labels; nothing was sent"
    ):
        Trainer(SandboxChatModel(), dataset, config(), assessor=Assessor(attributes))


class Watched(Assessor):
    """Notes how much the pictures that it learns from stand out from their own mean."""

    def loss(self, images, level, labels):
        self.seen = [*getattr(self, "seen", []), images.std(dim=(1, 2, 3))]
        return super().loss(images, level, labels)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.trains
def test_the_assessor_sees_the_given_share_of_its_own_batches_unprotected(dataset, tmp_path, share):
    attributes = dataset.private_attributes
    assessor = Watched(attributes, AttributeReader(attributes, LocalVisionModel.load()))
    settings = config(steps=12, assessor_steps=3, assessor_originals=share, learning_rate=1e-6)
    protector = closed_protector()
    Trainer(SandboxChatModel(), dataset, settings, protector=protector, assessor=assessor).fit(tmp_path)
    pictures = dataset.pixels(dataset.split("train"), 64).float() / 255
    least = float(pictures.std(dim=(1, 2, 3)).min())
    open_ = torch.stack(assessor.seen) > 0.9 * least
    assert not open_[::3].any()  # in the batch of the protector itself, never
    own = torch.cat([open_[1::3], open_[2::3]]).float().mean()
    assert share - 0.2 <= own <= share + 0.2
    assert bool(own == share) == (share in {0.0, 1.0})
