"""Many views of one picture give more than one, unless none of them shows anything."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from langchain_vpp.engines import Pixelate
from tests.unit.drawn_people import ATTRIBUTES, Pointwise, draw, fooling, grey, identity, jpeg_noise
from trainer.attackers.classifier import AttackData, AttackImages, FreshClassifier
from trainer.attackers.inversion import psnr
from trainer.attackers.repeated import RepeatedQueries, View, views
from trainer.data.wire import as_image, as_tensor
from trainer.statistics import bootstrap_mean, chance

_FEW = views(level_changes=(0.0,), scales=(1.0,))


def _protected(engine, images: torch.Tensor, level: float = 0.5) -> torch.Tensor:
    return torch.stack([as_tensor(engine.protect(as_image(each / 255), level)) for each in images])


class _FreshNoise:
    """Draws its noise anew each time, so that one view hides what many show."""

    def __init__(self) -> None:
        self._generator = np.random.default_rng(0)

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        noisy = np.asarray(image) + self._generator.normal(0, 60, (*image.size[::-1], 3))
        return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def people():
    return draw(96, 0), draw(16, 1), draw(60, 2)


@pytest.fixture(scope="module")
def read(people):
    """Return whether a classifier that learned from the averages reads each picture right."""

    def learn(protect) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        engine = RepeatedQueries(Pointwise(protect), _FEW)
        data = [AttackImages(each.images, each.labels) for each in people]
        attacker = FreshClassifier(ATTRIBUTES, warm_epochs=8, epochs=6)
        attacker.prepare(AttackData(*data), generator=generator)
        averages = [each._replace(images=_protected(engine, each.images)) for each in data]
        predictions = attacker.attack(AttackData(*averages), generator=generator).predictions
        return (predictions == people[2].labels).float()

    return learn


@pytest.mark.parametrize("protect", [identity, jpeg_noise, "fools one network"])
@pytest.mark.trains
def test_the_average_of_what_leaks_leaks(read, people, protect) -> None:
    protect = fooling(people[0])[1] if isinstance(protect, str) else protect
    assert read(protect).mean(dim=0).min() > 0.9


@pytest.mark.trains
def test_the_average_of_constant_grey_leaks_nothing_beyond_chance(read, people) -> None:
    for right, labels in zip(read(grey).T, people[2].labels.T, strict=True):
        generator = torch.Generator().manual_seed(1)
        assert bootstrap_mean(right, torch.arange(len(right)), generator=generator).low <= chance(labels)


def _gain(engine, shown, images: torch.Tensor) -> torch.Tensor:
    """Return how much nearer the average of views is to the originals than one view."""
    one, many = (_protected(each, images, 0.5) for each in (engine, RepeatedQueries(engine, shown)))
    return psnr(many, images) - psnr(one, images)


def test_noise_that_is_drawn_anew_averages_out() -> None:
    assert _gain(_FreshNoise(), views(), draw(6, 5).images).min() > 3


def test_mosaics_of_shifted_crops_give_more_than_one_mosaic() -> None:
    waves = torch.arange(96) / 6
    smooth = (128 + 60 * waves.sin()[:, None] + 60 * waves.cos()).byte().expand(1, 3, -1, -1)
    shifted = [(x, y, 0.0, 0.0) for x in (0.0, 0.02, 0.05) for y in (0.0, 0.02, 0.05)]
    assert _gain(Pixelate(), views(level_changes=(0.0,), scales=(1.0,), margins=shifted), smooth).min() > 1


def test_views_are_laid_where_they_belong() -> None:
    gradient = np.stack([np.tile(np.arange(0, 240, 4, dtype=np.uint8), (48, 1))] * 3, axis=2)
    image = Image.fromarray(gradient)
    shown = (View(0.0, 1.0, 0.25, 0.0, 0.0, 0.5), View(0.0, 1.0, 0.0, 0.25, 0.4, 0.0))
    average = np.asarray(RepeatedQueries(Pointwise(identity), shown).protect(image, 0.5)).astype(int)
    seen = np.zeros((48, 60), dtype=bool)
    seen[:24, 15:] = True
    seen[12:, :36] = True
    assert np.abs(average - gradient)[seen].max() <= 6  # of JPEG
    assert (average[~seen] == 128).all()


def test_no_view_is_less_private_than_what_was_asked_for() -> None:
    asked = []

    class _Records:
        def protect(self, image: Image.Image, level: float) -> Image.Image:
            asked.append(level)
            return image

    RepeatedQueries(_Records(), views()).protect(Image.new("RGB", (16, 8)), 0.95)
    assert min(asked) == 0.95
    assert max(asked) == 1.0


def test_the_digest_tells_views_and_engines_apart() -> None:
    digests = {
        RepeatedQueries(engine, shown).digest
        for engine in (Pixelate(), Pointwise(grey))
        for shown in (_FEW, views())
    }
    assert len(digests) == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"scales": (0.0,)},
        {"scales": (1.5,)},
        {"scales": ()},
        {"margins": ((0.5, 0, 0.5, 0),)},
        {"margins": ((-0.1, 0, 0, 0),)},
    ],
)
def test_impossible_views_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match=r"scale|margin|view"):
        views(**wrong)
    with pytest.raises(ValueError, match="view"):
        RepeatedQueries(Pixelate(), ())
