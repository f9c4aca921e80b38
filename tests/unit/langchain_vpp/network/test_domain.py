"""Statistics by which unfamiliar pictures are told."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from langchain_vpp.network.domain import Domain, Statistics, describe

CHANNELS = 3
NUMBERS = CHANNELS * (3 + 9)


def pooled(seed: int, shift: float = 0.0, shape: tuple[int, int] = (4, 6)) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (generator.uniform(1, 2, (CHANNELS, *shape)) + shift).astype(np.float32)


def statistics(**changes: object) -> Statistics:
    described = np.stack([describe(pooled(seed)) for seed in range(40)])
    mean, scale = described.mean(axis=0), described.std(axis=0) + 0.01
    known = Statistics(
        levels=np.array([0, 0.5, 1], np.float32),
        means=np.stack([mean, mean + scale, mean]).astype(np.float32),
        scale=scale,
        components=np.eye(2, NUMBERS, dtype=np.float32),
        variances=np.ones(2, np.float32),
        directions=np.eye(1, NUMBERS, dtype=np.float32),
        centres=np.zeros(3, np.float32),
        spreads=np.ones(3, np.float32),
        threshold=np.array([6], np.float32),
    )
    return known._replace(**changes)


def test_a_picture_is_described_by_as_many_numbers_whatever_its_size():
    assert {describe(pooled(0, shape=shape)).shape for shape in ((1, 1), (2, 7), (12, 12))} == {(NUMBERS,)}


def test_pictures_like_those_that_were_seen_are_familiar_and_others_are_not():
    domain = Domain(statistics())
    assert all(domain.is_familiar(pooled(seed), 0.0) for seed in range(100, 120))
    assert not any(domain.is_familiar(pooled(seed, shift=3.0), 0.0) for seed in range(100, 120))


def test_the_same_parts_at_other_places_are_unfamiliar():
    moved = pooled(1)
    moved[:, :2] += 3
    domain = Domain(statistics())
    assert describe(moved).shape == (NUMBERS,)
    assert not domain.is_familiar(moved, 0.0)


def test_levels_between_those_that_were_seen_are_compared_with_what_lies_between():
    domain = Domain(statistics())
    scores = [domain.score(pooled(3), level) for level in (0.0, 0.25, 0.5, 0.75, 1.0, 2.0)]
    assert scores[0] == pytest.approx(scores[4]) == pytest.approx(scores[5])
    assert scores[1] == pytest.approx(scores[3])
    assert scores[2] != pytest.approx(scores[0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_unfamiliar(value):
    broken = pooled(0)
    broken[0, 0, 0] = value
    assert not Domain(statistics()).is_familiar(broken, 0.0)


def test_other_features_than_those_of_the_domain_are_refused():
    with pytest.raises(ValueError, match="other features"):
        Domain(statistics()).is_familiar(pooled(0)[:2], 0.0)


def test_a_file_gives_back_the_same_domain_and_the_same_bytes():
    domain = Domain(statistics().stored())
    again = Domain.from_bytes(domain.to_bytes())
    assert again.to_bytes() == domain.to_bytes()
    assert all(np.array_equal(*pair) for pair in zip(again.statistics, domain.statistics, strict=True))


def archive(**arrays: object) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        for name, array in arrays.items():
            data = io.BytesIO()
            np.lib.format.write_array(data, np.asanyarray(array), allow_pickle=True)
            written.writestr(f"{name}.npy", data.getvalue())
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK",
        archive(levels=[0.0, 1.0]),
        archive(**statistics()._replace(levels=np.array([{}], dtype=object))._asdict()),
    ],
    ids=["nothing", "cut off", "one array", "an object"],
)
def test_what_is_no_file_of_statistics_is_refused(data):
    with pytest.raises(ValueError, match="not statistics of a domain"):
        Domain.from_bytes(data)


def test_a_large_array_is_not_read(monkeypatch):
    monkeypatch.setattr("langchain_vpp.network.domain._MOST_BYTES", 100)
    with pytest.raises(ValueError, match="not statistics of a domain"):
        Domain.from_bytes(Domain(statistics()).to_bytes())


@pytest.mark.parametrize(
    "changes",
    [
        {"levels": np.array([0, 0, 1], np.float32)},
        {"levels": np.zeros(0, np.float32), "means": np.zeros((0, NUMBERS), np.float32)},
        {"scale": np.zeros(NUMBERS, np.float32)},
        {"scale": np.float32(1)},
        {"means": np.full((3, NUMBERS), np.nan, np.float32)},
        {"components": np.zeros((2, 1), np.float32)},
        {"spreads": np.zeros(3, np.float32)},
        {"centres": np.zeros(2, np.float32)},
        {"directions": np.zeros((2, NUMBERS), np.float32)},
        {"threshold": np.array([np.inf], np.float32)},
        {"threshold": np.zeros(2, np.float32)},
    ],
    ids=lambda each: next(iter(each)),
)
def test_statistics_that_do_not_fit_each_other_are_refused(changes):
    with pytest.raises(ValueError, match="not statistics of a domain"):
        Domain(statistics(**changes))
