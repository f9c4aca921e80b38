"""Artifacts with a face detector: what it finds is covered, and without it nothing is loaded."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from langchain_vpp.artifact import (
    load_artifact,
    load_engine,
    save_artifact,
    save_detector,
    save_graphs,
    save_presets,
    verify_artifact,
)
from langchain_vpp.errors import ArtifactError
from langchain_vpp.image_protector import ImageProtector
from tests.made_detector import DESCRIPTION, fixed_detector
from tests.untrained import manifest, save_untrained, small_protector

FACE = (20.0, 20.0, 40.0, 44.0)


@pytest.fixture
def plain(tmp_path):
    save_untrained(tmp_path / "plain")
    return tmp_path / "plain"


@pytest.fixture
def folder(tmp_path):
    save_untrained(tmp_path / "artifact")
    save_detector(tmp_path / "artifact", fixed_detector([FACE], [0.9]), DESCRIPTION)
    return tmp_path / "artifact"


def edit_manifest(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refuse(folder, match):
    for load in (load_engine, verify_artifact, ImageProtector.from_pretrained):
        with pytest.raises(ArtifactError, match=match) as caught:
            load(folder)
        assert caught.value.__cause__ is None


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_what_the_detector_finds_is_covered_at_every_level(plain, folder, level):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    with_it, without = (np.asarray(load_engine(each).protect(picture, level)) for each in (folder, plain))
    assert (with_it[22:42, 24:36] == 128).all()
    assert (with_it[:, 52:] == without[:, 52:]).all()


def test_heads_are_covered_from_the_level_that_the_manifest_names(plain, folder):
    edit_manifest(folder, face_detector=DESCRIPTION.model_dump(mode="json") | {"heads_from": 0.5})
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    below, above = (
        np.sum(
            np.asarray(load_engine(folder).protect(picture, level))
            != load_engine(plain).protect(picture, level)
        )
        for level in (0.4, 0.5)
    )
    assert 0 < below < 0.8 * above


def test_the_detector_is_part_of_the_digest_and_the_manifest_names_it(plain, folder):
    loaded = load_artifact(folder)
    assert loaded.digest != load_artifact(plain).digest
    assert loaded.manifest.face_detector == DESCRIPTION
    assert "faces.onnx" in loaded.manifest.files


def test_the_detector_outlives_other_presets_and_other_graphs(folder):
    save_presets(folder, {"balanced": 0.5})
    save_graphs(folder, {})
    assert verify_artifact(folder)[0].face_detector == DESCRIPTION


def test_new_weights_come_without_the_old_detector(folder):
    save_artifact(folder, small_protector(), manifest(face_detector=DESCRIPTION))
    assert verify_artifact(folder)[0].face_detector is None


def test_a_missing_detector_is_refused(folder):
    (folder / "faces.onnx").unlink()
    refuse(folder, "faces.onnx could not be read")


def test_a_changed_detector_is_refused(folder):
    (folder / "faces.onnx").write_bytes(fixed_detector([], []))
    refuse(folder, "sha256 differs")


def test_a_described_detector_that_is_not_listed_is_refused(folder):
    files = json.loads((folder / "manifest.json").read_text())["files"]
    edit_manifest(folder, files={"model.safetensors": files["model.safetensors"]})
    refuse(folder, "must have both")


def test_a_listed_detector_that_is_not_described_is_refused(folder):
    edit_manifest(folder, face_detector=None)
    refuse(folder, "must have both")


def test_a_detector_that_cannot_run_is_refused(folder):
    save_detector(folder, b"no graph", DESCRIPTION)
    with pytest.raises(ArtifactError, match="face detector"):
        load_engine(folder)


@pytest.mark.parametrize(
    "changes", [{"threshold": 1}, {"scales": ()}, {"scales": (0,)}, {"scales": (2,)}], ids=str
)
def test_a_detector_that_could_find_nothing_is_refused(folder, changes):
    edit_manifest(folder, face_detector=DESCRIPTION.model_dump(mode="json") | changes)
    refuse(folder, "face_detector")
