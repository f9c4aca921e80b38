"""``vpp protect`` on real photographs and folders: upright, without metadata, and the originals are never touched."""

from __future__ import annotations

import hashlib
import io
import json

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from skimage import data as photographs

from langchain_vpp.artifact import Manifest, save_artifact
from langchain_vpp.protector import Protector, ProtectorConfig

CANARY = b"canary-of-the-metadata"


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    return Image.fromarray(photographs.astronaut()).resize((384, 320))


@pytest.fixture
def photo(tmp_path, astronaut):
    """The photograph as a camera held sideways stores it, with all kinds of metadata."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Artist] = CANARY.decode()
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    path = tmp_path / "photos" / "astronaut.jpg"
    path.parent.mkdir()
    astronaut.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, comment=CANARY, quality=95)
    assert CANARY in path.read_bytes()
    return path


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    torch.manual_seed(0)
    protector = Protector(ProtectorConfig(width=8, blocks=(1, 1, 1), working_resolution=64))
    manifest = Manifest(
        protector={},
        private_attributes={},
        questions=(),
        trained_against="m",
        access="labels",
        queries=0,
        steps=0,
        seed=0,
        data_digest="",
        presets={"balanced": 0.4},
        created_with="test",
    )
    folder = tmp_path_factory.mktemp("trained") / "artifact"
    save_artifact(folder, protector, manifest)
    return folder


def digest(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def difference(first: Image.Image, second: Image.Image) -> float:
    return float(np.abs(np.asarray(first, dtype=float) - np.asarray(second, dtype=float)).mean())


@pytest.mark.parametrize("engine", ["blur", "pixelate", "downscale"])
def test_a_photograph_is_upright_protected_and_without_metadata(vpp, photo, astronaut, tmp_path, engine):
    before = digest(photo)
    weak = vpp.run("protect", photo, "--engine", engine, "--level", 0, "--out", tmp_path / "weak", "--json")
    assert weak.code == 0
    output = tmp_path / "weak" / "astronaut.jpg"
    assert json.loads(weak.out) == {"protected": [{"input": str(photo), "output": str(output)}], "failed": []}
    with Image.open(output) as protected:
        assert protected.format == "JPEG"
        assert protected.size == astronaut.size
        assert difference(protected, astronaut) < 4  # upright, or it would be far off
        assert not protected.getexif()
        assert set(protected.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert CANARY not in output.read_bytes()

    assert (
        vpp.run("protect", photo, "--engine", engine, "--level", 0.8, "--out", tmp_path / "strong").code == 0
    )
    with Image.open(tmp_path / "strong" / "astronaut.jpg") as protected:
        assert difference(protected, astronaut) > 15
    assert digest(photo) == before
    assert [path.name for path in photo.parent.iterdir()] == ["astronaut.jpg"]


def test_an_artifact_serves_at_a_preset(vpp, photo, artifact, astronaut, tmp_path):
    done = vpp.run("protect", photo, "--artifact", artifact, "--level", "balanced", "--out", tmp_path / "out")
    assert (done.code, done.out) == (0, "")
    same = vpp.run("protect", photo, "--artifact", artifact, "--level", 0.4, "--out", tmp_path / "same")
    assert same.code == 0
    protected = (tmp_path / "out" / "astronaut.jpg").read_bytes()
    assert protected == (tmp_path / "same" / "astronaut.jpg").read_bytes()
    assert Image.open(io.BytesIO(protected)).size == astronaut.size


def test_a_folder_keeps_its_shape_and_one_bad_file_does_not_stop_the_others(vpp, photo, tmp_path):
    inside = photo.parent / "trip" / "day 1"
    inside.mkdir(parents=True)
    (inside / "two.PNG").write_bytes(photo.read_bytes())
    (inside / "bad.jpg").write_bytes(photo.read_bytes()[:500])
    (inside / "notes.txt").write_text("no picture")
    out = tmp_path / "out"
    done = vpp.run("protect", photo.parent, "--engine", "blur", "--out", out, "--json")
    assert done.code == 2
    assert "bad.jpg was not protected" in done.error
    result = json.loads(done.out)
    assert [entry["input"] for entry in result["failed"]] == [str(inside / "bad.jpg")]
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert written == ["astronaut.jpg", "trip/day 1/two.jpg"]


def test_inputs_are_never_overwritten(vpp, photo):
    before = digest(photo)
    for extra in ((), ("--overwrite",)):
        done = vpp.run("protect", photo, "--engine", "blur", "--out", photo.parent, *extra)
        assert done.code == 2
        assert "is an original. Choose another --out" in done.error
        assert digest(photo) == before
    link = photo.parent.parent / "link"
    link.symlink_to(photo.parent)
    assert vpp.run("protect", photo, "--engine", "blur", "--out", link, "--overwrite").code == 2
    assert digest(photo) == before


def test_other_files_are_overwritten_only_on_request(vpp, photo, tmp_path):
    other = tmp_path / "out" / "astronaut.jpg"
    other.parent.mkdir()
    other.write_bytes(b"someone's only copy")
    done = vpp.run("protect", photo, "--engine", "blur", "--out", other.parent)
    assert done.code == 2
    assert "exists. Choose another --out, or give --overwrite" in done.error
    assert other.read_bytes() == b"someone's only copy"
    assert vpp.run("protect", photo, "--engine", "blur", "--out", other.parent, "--overwrite").code == 0
    assert other.read_bytes().startswith(b"\xff\xd8")


def test_a_link_in_the_place_of_an_output_is_replaced_and_not_followed(vpp, photo, tmp_path):
    precious = tmp_path / "precious.jpg"
    precious.write_bytes(b"precious")
    out = tmp_path / "out"
    out.mkdir()
    (out / "astronaut.jpg").symlink_to(precious)
    assert vpp.run("protect", photo, "--engine", "blur", "--out", out).code == 2
    assert vpp.run("protect", photo, "--engine", "blur", "--out", out, "--overwrite").code == 0
    assert precious.read_bytes() == b"precious"


def test_two_inputs_with_one_output_are_told_apart(vpp, photo, tmp_path):
    (photo.parent / "astronaut.png").write_bytes(photo.read_bytes())
    done = vpp.run("protect", photo.parent, "--engine", "blur", "--out", tmp_path / "out")
    assert done.code == 2
    assert "is already the output of" in done.error


def test_outputs_within_the_folder_are_not_taken_for_inputs(vpp, photo):
    out = photo.parent / "protected"
    assert vpp.run("protect", photo.parent, "--engine", "blur", "--out", out).code == 0
    assert vpp.run("protect", photo.parent, "--engine", "blur", "--out", out, "--overwrite").code == 0
    assert [str(path.relative_to(out)) for path in out.rglob("*")] == ["astronaut.jpg"]
