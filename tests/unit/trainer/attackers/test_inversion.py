"""Inversion restores whatever protected pictures still show, and nothing else."""

from __future__ import annotations

import pytest
import torch

from tests.unit.drawn_people import ATTRIBUTES, draw, fooling, grey, identity, jpeg_noise
from trainer.attackers.classifier import AttackData, AttackImages, FreshClassifier
from trainer.attackers.inversion import Inverter, likeness, psnr, ssim
from trainer.statistics import bootstrap_mean, chance


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _data(people, protect) -> AttackData:
    return AttackData(*(AttackImages(protect(each.images), each.labels) for each in people))


@pytest.fixture(scope="module")
def people():
    return draw(160, 0), draw(24, 1), draw(60, 2)


@pytest.fixture(scope="module")
def prepared(people):
    attacker = Inverter(epochs=8, width=24)
    attacker.prepare(_data(people, identity), generator=_generator())
    return attacker


@pytest.fixture(scope="module")
def reader(people):
    classifier = FreshClassifier(ATTRIBUTES)
    classifier.prepare(_data(people, identity), generator=_generator())
    return classifier


@pytest.fixture(scope="module")
def of_jpeg(prepared, people):
    return _restore(prepared, people, jpeg_noise)


def _restore(prepared, people, protect):
    return prepared.attack(_data(people, protect), generator=_generator(1))


def _mean(values):
    return bootstrap_mean(values, torch.arange(len(values)), generator=_generator(2))


def _assert_leaks(restored, reader, people) -> None:
    assert _mean(restored.likeness.psnr).low > _mean(restored.floor.psnr).high + 3
    assert _mean(restored.likeness.ssim).low > _mean(restored.floor.ssim).high + 0.2
    read = reader.read(restored.images).argmax(dim=2)
    assert (read == people[2].labels).float().mean(dim=0).min() > 0.9


@pytest.mark.trains
def test_identity_is_reported_as_leaking(prepared, reader, people) -> None:
    _assert_leaks(_restore(prepared, people, identity), reader, people)


@pytest.mark.trains
def test_jpeg_noise_is_reported_as_leaking(of_jpeg, reader, people) -> None:
    _assert_leaks(of_jpeg, reader, people)


@pytest.mark.trains
def test_what_fools_one_network_is_undone(prepared, reader, people) -> None:
    _assert_leaks(_restore(prepared, people, fooling(people[0])[1]), reader, people)


@pytest.mark.trains
def test_the_restoration_is_nearer_to_the_original_than_the_protected_picture(of_jpeg, people) -> None:
    test = people[2].images
    assert _mean(of_jpeg.likeness.psnr).low > _mean(psnr(jpeg_noise(test), test)).high


@pytest.mark.trains
def test_nothing_is_restored_from_constant_grey(prepared, reader, people) -> None:
    restored = _restore(prepared, people, grey)
    assert _mean(restored.likeness.psnr).low <= _mean(restored.floor.psnr).value
    read = reader.read(restored.images).argmax(dim=2)
    for column, predictions in zip(people[2].labels.T, read.T, strict=True):
        assert _mean((predictions == column).float()).low <= chance(column)


@pytest.mark.trains
def test_the_same_generator_gives_the_same_restoration(people) -> None:
    few = tuple(each._replace(images=each.images[:16], labels=each.labels[:16]) for each in people)
    runs = []
    for _ in range(2):
        attacker = Inverter(epochs=1)
        attacker.prepare(_data(few, identity), generator=_generator(3))
        torch.rand(3)
        runs.append(attacker.attack(_data(few, jpeg_noise), generator=_generator(4)).images)
    assert torch.equal(*runs)


def test_measures_agree_with_an_independent_implementation() -> None:
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity  # takes seconds to load

    pictures = draw(6, 3).images
    noisy = jpeg_noise(pictures)
    found = likeness(noisy, pictures)
    arrays = ([each.permute(1, 2, 0).numpy() for each in images] for images in (noisy, pictures))
    for index, (first, second) in enumerate(zip(*arrays, strict=True)):
        assert float(found.psnr[index]) == pytest.approx(peak_signal_noise_ratio(second, first), abs=1e-4)
        known = structural_similarity(
            second, first, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert float(found.ssim[index]) == pytest.approx(known, abs=1e-5)


def test_equal_pictures_reach_the_best_that_can_be_told() -> None:
    pictures = draw(2, 3).images
    found = likeness(pictures, pictures)
    assert found.ssim.tolist() == pytest.approx([1.0, 1.0])
    assert found.psnr.tolist() == pytest.approx([58.92, 58.92], abs=0.01)


def test_pictures_smaller_than_a_window_are_refused() -> None:
    with pytest.raises(ValueError, match="11"):
        ssim(torch.zeros(1, 3, 8, 16, dtype=torch.uint8), torch.zeros(1, 3, 8, 16, dtype=torch.uint8))


@pytest.mark.trains
def test_other_pictures_than_those_prepared_with_are_refused(prepared, people) -> None:
    with pytest.raises(ValueError, match="prepared"):
        _restore(prepared, (people[0], people[2], people[1]), identity)
    with pytest.raises(ValueError, match="prepare"):
        _restore(Inverter(), people, identity)
