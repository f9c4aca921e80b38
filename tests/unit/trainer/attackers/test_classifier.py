"""Fresh classifiers tell what leaks from what hides, whatever training's assessor believes."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file

from langchain_vpp.errors import TrainingError
from tests.unit.drawn_people import ATTRIBUTES, People, draw, fooling, grey, identity, jpeg_noise
from trainer.attackers.backbones import read_weights
from trainer.attackers.classifier import (
    AttackData,
    AttackImages,
    AttributeClassifier,
    FixedClassifier,
    FreshClassifier,
    Scores,
    combine,
)
from trainer.statistics import bootstrap_mean, chance

if TYPE_CHECKING:
    from trainer.attackers.frames import FrameView


@pytest.fixture(scope="module")
def people() -> tuple[People, People, People]:
    return draw(256, 0), draw(48, 1), draw(100, 2)


@pytest.fixture(scope="module")
def fooled(people):
    return fooling(people[0])


@pytest.fixture(scope="module", params=["originals", "protected"])
def prepared(request, people):
    attacker = FreshClassifier(ATTRIBUTES, start=request.param)
    attacker.prepare(_data(people, identity), generator=_generator(0))
    return attacker


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _data(people, protect) -> AttackData:
    return AttackData(*(AttackImages(protect(each.images), each.labels) for each in people))


def _accuracies(prepared, people, protect) -> dict[str, float]:
    scores = copy.deepcopy(prepared).attack(_data(people, protect), generator=_generator(1))
    right = (scores.predictions == people[2].labels).float().mean(dim=0)
    return dict(zip(ATTRIBUTES, right.tolist(), strict=True))


@pytest.mark.trains
def test_identity_leaks(prepared, people) -> None:
    assert min(_accuracies(prepared, people, identity).values()) > 0.9


@pytest.mark.trains
def test_jpeg_noise_leaks(prepared, people) -> None:
    assert min(_accuracies(prepared, people, jpeg_noise).values()) > 0.9


@pytest.mark.trains
def test_what_fools_one_network_leaks(prepared, people, fooled) -> None:
    assessor, protect = fooled
    test = people[2]
    before, after = assessor.right(test), assessor.right(test._replace(images=protect(test.images)))
    assert before.min() > 0.9
    assert after.max() < 0.65  # the assessor is at chance, and would say that all is well
    assert min(_accuracies(prepared, people, protect).values()) > 0.9


@pytest.mark.trains
def test_constant_grey_leaks_nothing_beyond_chance(prepared, people) -> None:
    scores = copy.deepcopy(prepared).attack(_data(people, grey), generator=_generator(1))
    labels = people[2].labels
    for column, predictions in zip(labels.T, scores.predictions.T, strict=True):
        right = bootstrap_mean((predictions == column).float(), torch.arange(100), generator=_generator(2))
        assert right.low <= chance(column)


@pytest.mark.trains
def test_scores_are_probabilities_padded_with_zeros(prepared, people) -> None:
    scores = prepared.read(people[2].images)
    assert scores.shape == (100, 2, 3)
    assert torch.allclose(scores.sum(dim=2), torch.ones(100, 2), atol=1e-3)
    assert (scores[:, 0, 2] == 0).all()


@pytest.mark.trains
def test_the_same_generator_gives_the_same_scores(people) -> None:
    small = tuple(each._replace(images=each.images[:40], labels=each.labels[:40]) for each in people)
    runs = []
    for _ in range(2):
        attacker = FreshClassifier(ATTRIBUTES, start="protected", warm_epochs=1)
        attacker.prepare(_data(small, identity), generator=_generator(3))
        torch.rand(5)  # nobody else's draws matter
        runs.append(attacker.attack(_data(small, jpeg_noise), generator=_generator(4)))
    assert torch.equal(runs[0].test, runs[1].test)


@pytest.mark.trains
def test_a_fixed_network_reads_as_it_stands_and_never_adapts(people, prepared) -> None:
    network = copy.deepcopy(prepared)._network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fixed = FixedClassifier(network, "somebody else's")
    scores = fixed.prepare(_data(people, identity), generator=_generator(0))
    assert torch.equal(scores.test, prepared.read(people[2].images))
    again = fixed.attack(_data(people, grey), generator=_generator(1))
    assert again.test.shape == scores.test.shape
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert fixed.name in fixed.description


@pytest.mark.trains
def test_a_network_that_learned_before_is_copied_and_adapts_without_originals(people, prepared) -> None:
    network = copy.deepcopy(prepared)._network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    attacker = FreshClassifier(ATTRIBUTES, architecture=network, epochs=1)
    scores = attacker.prepare(_data(people, identity), generator=_generator(0))
    assert torch.equal(scores.test, prepared.read(people[2].images))
    attacker.attack(_data(people, jpeg_noise), generator=_generator(1))
    assert not torch.equal(attacker.read(people[2].images), scores.test)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert "reads originals already" in attacker.description
    with pytest.raises(ValueError, match="starts from what it knows"):
        FreshClassifier(ATTRIBUTES, architecture=network, start="protected")


def test_reading_before_prepare_is_refused(people) -> None:
    with pytest.raises(ValueError, match="prepare"):
        FreshClassifier(ATTRIBUTES).read(people[2].images)


@pytest.mark.parametrize("start", ["originals", "protected"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.trains
def test_a_handful_of_pictures_and_unknown_labels_are_enough_to_run(people, count, start) -> None:
    few = tuple(
        each._replace(images=each.images[:count], labels=torch.full((count, 2), -1)) for each in people
    )
    attacker = FreshClassifier(ATTRIBUTES, start=start)
    attacker.prepare(_data(few, identity), generator=_generator(0))
    scores = attacker.attack(_data(few, grey), generator=_generator(0))
    assert scores.test.isfinite().all()


# -- torchvision's networks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "epochs", "side"),
    [("resnet10", 4, None), ("resnet18", 4, None), ("mobilenet_v3_small", 7, 64)],
)
@pytest.mark.trains
def test_a_torchvision_network_learns_to_read_originals(architecture, epochs, side) -> None:
    people = draw(96, 0), draw(8, 1), draw(60, 2)
    attacker = FreshClassifier(ATTRIBUTES, architecture=architecture, warm_epochs=epochs, side=side)
    scores = attacker.prepare(_data(people, identity), generator=_generator(0))
    assert float((scores.predictions == people[2].labels).float().mean()) > 0.7


class _Watching(FreshClassifier):
    """Notes the sizes at which it looks at pictures."""

    def _logits(self, images):
        if self._network.training:
            self.looked_at.append(tuple(images.shape[2:]))
        return super()._logits(images)


@pytest.mark.parametrize("start", ["originals", "protected"])
@pytest.mark.parametrize(
    ("side", "sizes"),
    [
        (160, [(40, 80), (64, 120), (80, 160)]),
        (80, [(32, 64), (40, 80)]),  # never below 64
        (None, [(96, 192)]),  # patterns of single pixels are gone where pictures are scaled
    ],
)
@pytest.mark.trains
def test_new_weights_learn_at_growing_sizes_and_adapt_and_read_at_the_last(start, side, sizes) -> None:
    images = torch.randint(256, (24, 3, 96, 192), generator=_generator(7)).byte()
    part = AttackImages(images, torch.arange(24)[:, None] % 2)
    attacker = _Watching(
        {"mark": ("no", "yes")}, start=start, side=side, warm_epochs=6, epochs=1, architecture="small"
    )
    attacker.looked_at = []
    data = AttackData(part, part, part)
    attacker.prepare(data, generator=_generator(8))
    learned = list(dict.fromkeys(attacker.looked_at))
    assert learned == sizes
    attacker.looked_at.clear()
    attacker.attack(data, generator=_generator(9))
    if start == "originals":
        assert set(attacker.looked_at) == {sizes[-1]}
    else:
        assert list(dict.fromkeys(attacker.looked_at)) == sizes


class _Finding(FreshClassifier):
    """Notes where in each batch a dot is, as rows and columns from the middle."""

    def _logits(self, images):
        dots = (images[:, 0] == 255).nonzero()[:, 1:] - torch.tensor([32, 48])
        assert (dots == dots[0]).all()  # a batch is moved alike
        self.found[self._network.training].append(tuple(dots[0].tolist()))
        return super()._logits(images)


@pytest.mark.trains
def test_it_learns_from_moved_images_and_reads_unmoved_ones() -> None:
    images = torch.full((64, 3, 64, 96), 100, dtype=torch.uint8)
    images[:, :, 32, 48] = 255
    part = AttackImages(images, torch.arange(64)[:, None] % 2)
    attacker = _Finding({"mark": ("no", "yes")}, shift=3, warm_epochs=30, epochs=1)
    attacker.found = {True: [], False: []}
    data = AttackData(part, part, part)
    attacker.prepare(data, generator=_generator(8))
    steps = range(-3, 4)
    assert set(attacker.found[True]) <= {(down, right) for down in steps for right in steps}
    assert {down for down, _ in attacker.found[True]} == set(steps)
    assert {right for _, right in attacker.found[True]} == set(steps)
    assert set(attacker.found[False]) == {(0, 0)}
    attacker.found[True].clear()
    attacker.attack(data, generator=_generator(9))
    assert set(attacker.found[True]) - {(0, 0)}
    assert "moved by up to 3 px" in attacker.description


@pytest.mark.parametrize("width", [176, 320])
@pytest.mark.trains
def test_on_large_pictures_it_begins_with_larger_cells_and_reads_single_pixels(width) -> None:
    generator = _generator(5)
    values = torch.randint(2, (120, 1), generator=generator)
    images = torch.randint(100, 156, (120, 3, 32, width), generator=generator).byte()
    images[:, 0, 8, ::2] += (40 * values).byte()  # every other pixel of one line, a little redder
    parts = (
        AttackImages(images[rows], values[rows]) for rows in torch.tensor_split(torch.arange(120), (80, 100))
    )
    attacker = FreshClassifier({"mark": ("no", "yes")}, warm_epochs=20)
    data = AttackData(*parts)
    scores = attacker.prepare(data, generator=_generator(6))
    assert (scores.predictions == data.test.labels).float().mean() > 0.9
    for cell in (2, 4, 8):
        network = AttributeClassifier((2,), cell=cell)
        assert network(images[:2] / 255)[0].shape == (2, 2)
        assert network.stem(images[:2] / 255).shape[2:] == (32 // cell // 4, width // cell // 4)


@pytest.mark.trains
def test_a_torchvision_network_is_as_deterministic_as_ours() -> None:
    people = draw(32, 0), draw(4, 1), draw(8, 2)
    runs = []
    for seed in (1, 2):
        torch.manual_seed(seed)  # dropout would draw from here
        attacker = FreshClassifier(ATTRIBUTES, architecture="mobilenet_v3_small", warm_epochs=1)
        runs.append(attacker.prepare(_data(people, identity), generator=_generator(0)))
    assert torch.equal(runs[0].test, runs[1].test)


@pytest.mark.slow(seconds=0.23)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_given_weights_are_what_the_network_starts_from(tmp_path, suffix) -> None:
    from torchvision.models import resnet18  # takes seconds to load

    state = resnet18(weights=None).state_dict()
    state["conv1.weight"] = torch.full_like(state["conv1.weight"], 0.25)
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    attacker = FreshClassifier(ATTRIBUTES, architecture="resnet18", weights=read_weights(path))
    network = attacker._draw(64).network
    assert (network.conv1.weight == 0.25).all()
    assert network.fc.out_features == 5  # of our attributes, not of ImageNet


def test_weights_of_another_network_are_refused(tmp_path) -> None:
    from torchvision.models import mobilenet_v3_small  # takes seconds to load

    path = tmp_path / "weights.pt"
    torch.save(mobilenet_v3_small(weights=None).state_dict(), path)
    attacker = FreshClassifier(ATTRIBUTES, architecture="resnet18", weights=read_weights(path))
    with pytest.raises(TrainingError, match="resnet18"):
        attacker._draw(64)


def test_a_file_that_would_run_code_is_refused(tmp_path) -> None:
    path, marker = tmp_path / "weights.pt", tmp_path / "was-run"

    class _Runs:
        def __reduce__(self):
            return marker.touch, ()

    torch.save({"conv1.weight": _Runs()}, path)
    with pytest.raises(TrainingError, match=r"weights\.pt") as caught:
        read_weights(path)
    assert not marker.exists()
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_weights_for_the_small_network_are_refused() -> None:
    with pytest.raises(ValueError, match="torchvision"):
        FreshClassifier(ATTRIBUTES, weights={})


# -- the strongest of several -------------------------------------------------------------------------------------


def _one_hot(rows: list[list[int]]) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(rows), 2).float()


def test_each_attribute_is_taken_from_the_reader_that_is_best_on_val() -> None:
    labels = torch.tensor([[0, 1], [1, 0], [0, -1]])
    first = Scores(_one_hot([[0, 0], [1, 1], [0, 0]]), _one_hot([[0, 0]]))  # right about the first attribute
    second = Scores(_one_hot([[1, 1], [0, 0], [1, 1]]), _one_hot([[1, 1]]))  # about the second
    best, choice = combine([first, second], labels)
    assert choice.tolist() == [0, 1]
    assert best.predictions.tolist() == [[0, 1]]


def test_equally_right_readers_are_told_apart_by_how_sure_they_are() -> None:
    labels = torch.tensor([[0], [1]])
    unsure = Scores(torch.tensor([[[0.6, 0.4]], [[0.4, 0.6]]]), torch.zeros(1, 1, 2))
    sure = Scores(torch.tensor([[[0.9, 0.1]], [[0.1, 0.9]]]), torch.zeros(1, 1, 2))
    assert combine([unsure, sure], labels)[1].tolist() == [1]


def _clips(images: torch.Tensor, middle: torch.Tensor | None = None) -> torch.Tensor:
    """Clips of three frames: the images, but for the one in the middle."""
    return torch.stack([images, images if middle is None else middle, images], dim=1)


@pytest.mark.trains
def test_a_clip_of_one_frame_reads_like_its_image(prepared, people):
    images = people[2].images[:20]
    assert torch.equal(prepared.read(images[:, None]), prepared.read(images))


@pytest.mark.trains
def test_frames_of_a_clip_are_averaged(prepared, people):
    images = people[2].images[:20]
    same = prepared.read(_clips(images))
    assert torch.allclose(same, prepared.read(images), atol=1e-5)
    assert not torch.allclose(prepared.read(_clips(images, images.flip(0))), same, atol=1e-3)


@pytest.mark.trains
@pytest.mark.slow(seconds=3)
def test_an_attacker_of_clips_reads_what_one_frame_hides(people):
    """The frame in the middle shows nothing, so that only who looks at all frames reads."""
    parts = [each._replace(images=each.images[:96], labels=each.labels[:96]) for each in people]
    data = AttackData(
        *(AttackImages(_clips(each.images, torch.full_like(each.images, 128)), each.labels) for each in parts)
    )
    read: dict[str, torch.Tensor] = {}
    choices: tuple[FrameView, ...] = ("all", "one")
    for frames in choices:
        attacker = FreshClassifier(ATTRIBUTES, frames=frames, warm_epochs=6 if frames == "all" else 1)
        scores = attacker.prepare(data, generator=_generator(0))
        read[frames] = (scores.predictions == parts[2].labels).float().mean(dim=0)
        assert attacker.name.endswith("single frames") == (frames == "one")
    floor = torch.tensor([chance(column) for column in parts[2].labels.T])
    assert float((read["all"] - floor).max()) > 0.15
    assert (read["one"] <= floor + 1e-6).all()
