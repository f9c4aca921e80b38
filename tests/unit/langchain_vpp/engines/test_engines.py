"""Engines: the same size out, nothing above the working resolution, no change of the input."""

from __future__ import annotations

import pytest

from langchain_vpp import engines
from langchain_vpp.engines import NAMED_ENGINES, Blur, Chain, Downscale, Engine, Pixelate
from tests.unit.langchain_vpp.engines.made import learned, picture

ENGINES = [
    Blur(),
    Pixelate(),
    Downscale(),
    learned(),
    Chain(Blur(), Pixelate()),
    Chain(Pixelate(), learned()),
]


@pytest.mark.parametrize("engine", ENGINES, ids=lambda each: each.name)
@pytest.mark.parametrize("size", [(60, 40), (1, 1), (3, 200), (64, 64), (129, 31)], ids=str)
@pytest.mark.parametrize("level", [0.0, 0.37, 1.0])
def test_the_size_stays_and_the_input_is_not_changed(engine, size, level):
    image = picture(*size)
    before = image.tobytes()
    result = engine.protect(image, level)
    assert (result.size, result.mode) == (size, "RGB")
    assert result is not image
    assert image.tobytes() == before
    assert isinstance(engine, Engine)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda each: each.name)
def test_the_same_picture_and_level_give_the_same_pixels(engine):
    assert engine.protect(picture(), 0.6).tobytes() == engine.protect(picture(), 0.6).tobytes()


def test_digests_tell_engines_apart():
    digests = [engine.digest for engine in ENGINES]
    assert len(set(digests)) == len(ENGINES)
    assert all(len(engine.digest) == 64 for engine in ENGINES if engine.name != "torch")


def test_all_names_can_be_imported_and_listed():
    assert sorted(engines.__all__) == sorted(dir(engines))
    assert all(getattr(engines, name) for name in engines.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        engines.nonsense  # noqa: B018


def test_engines_are_named_by_what_they_are():
    assert {name: engine.name for name, engine in NAMED_ENGINES.items()} == {
        name: name for name in NAMED_ENGINES
    }
