"""The artifact for photographs, as it is shipped: faces vanish, the scene stays, and no torch is needed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from skimage import data

from langchain_vpp.artifact import GRAPH, artifact_folder, load_engine, read_manifest, verify_artifact
from langchain_vpp.engines import Chain, Pixelate
from langchain_vpp.image_protector import ImageProtector

FACE = (185, 70, 262, 172)
"""The face of the astronaut, in a picture of 512x512."""
LEVELS = ("low", "balanced", "high")


@pytest.fixture(scope="module")
def engine():
    return load_engine("photographs")


@pytest.fixture(scope="module")
def astronaut():
    return Image.fromarray(data.astronaut())


def grey(picture, box=None):
    """The share of the pixels that show the grey of a cover."""
    pixels = np.asarray(picture if box is None else picture.crop(box), dtype=int)
    return (np.abs(pixels - 128) <= 2).all(axis=-1).mean()


def oval(picture, box):
    """The pixels of the oval in a box."""
    part = np.asarray(picture.crop(box), dtype=int)
    y, x = (np.linspace(-1, 1, side) for side in part.shape[:2])
    return part[y[:, None] ** 2 + x**2 <= 1]


@pytest.mark.parametrize("level", LEVELS)
def test_a_face_is_one_grey_at_every_preset(astronaut, level):
    shown = ImageProtector.from_pretrained("photographs", level=level).protect_image(astronaut)
    assert grey(shown) < 1, "it is familiar"
    assert (np.abs(oval(shown, FACE) - 128) <= 2).all(axis=-1).mean() > 0.95


@pytest.mark.parametrize("turned", [Image.Transpose.FLIP_LEFT_RIGHT, None], ids=["mirrored", "grey and dark"])
def test_a_mirrored_and_a_dark_face_are_covered(engine, astronaut, turned):
    manifest, _ = read_manifest(artifact_folder("photographs"))
    if turned is None:
        seen, box = astronaut.convert("L").point(lambda value: value // 3).convert("RGB"), FACE
    else:
        seen, box = astronaut.transpose(turned), (512 - FACE[2], FACE[1], 512 - FACE[0], FACE[3])
    shown = engine.judged(seen, manifest.presets["balanced"]).image
    assert (np.abs(oval(shown, box) - 128) <= 2).all(axis=-1).mean() > 0.95


@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket"])
def test_a_scene_without_people_is_still_to_be_seen(name):
    picture = Image.fromarray(getattr(data, name)())
    shown = ImageProtector.from_pretrained("photographs", level="low").protect_image(picture)
    assert grey(shown) < 0.35


def test_nothing_finer_than_the_working_resolution_comes_through(engine):
    stripes = np.zeros((768, 768, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    plain = np.full_like(stripes, 127)
    made = [
        np.asarray(engine.judged(Image.fromarray(each), 0.25).image, dtype=int) for each in (stripes, plain)
    ]
    assert np.abs(made[0] - made[1]).mean() < 3


def test_it_chains(engine, astronaut):
    shown = Chain(engine, Pixelate()).protect(astronaut, 0.25)
    assert shown.size == astronaut.size


def test_it_says_what_it_is_and_whom_it_is_owed_to():
    folder = artifact_folder("photographs")
    manifest, _ = verify_artifact(folder)
    assert manifest.face_detector is not None
    assert manifest.face_detector.licence
    card = (folder / "README.md").read_text(encoding="utf-8")
    for owed in (manifest.attribution, manifest.licence, manifest.face_detector.name, "COCO", "FairFace"):
        assert owed in card
    assert set(manifest.presets) == set(LEVELS)
    assert GRAPH in manifest.files
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4_500_000


def test_it_is_served_without_torch():
    code = (
        "import sys; from PIL import Image; from langchain_vpp import ImageProtector; "
        "ImageProtector.from_pretrained('photographs').protect_image(Image.new('RGB', (320, 224))); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
