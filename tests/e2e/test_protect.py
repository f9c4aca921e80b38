"""``vpp protect`` on real photographs and folders: upright, without metadata, and the originals are never touched."""

from __future__ import annotations

import hashlib
import io
import json
import re
import signal

import numpy as np
import pytest
from PIL import ExifTags, Image
from skimage import data as photographs

from tests.e2e.commands import wait_until
from tests.untrained import save_untrained

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
    folder = tmp_path_factory.mktemp("trained") / "artifact"
    save_untrained(folder, presets={"balanced": 0.4})
    return folder


def digest(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def outputs(folder) -> list[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if path.parts[0] != ".vpp")


def difference(first: Image.Image, second: Image.Image) -> float:
    return float(np.abs(np.asarray(first, dtype=float) - np.asarray(second, dtype=float)).mean())


@pytest.mark.parametrize("engine", ["blur", "pixelate", "downscale"])
def test_a_photograph_is_upright_protected_and_without_metadata(vpp, photo, astronaut, tmp_path, engine):
    before = digest(photo)
    weak = vpp.run("protect", photo, "--engine", engine, "--level", 0, "--out", tmp_path / "weak", "--json")
    assert weak.code == 0
    output = tmp_path / "weak" / "astronaut.jpg"
    assert json.loads(weak.out) == {
        "protected": [{"input": str(photo), "output": str(output)}],
        "unchanged": [],
        "failed": [],
    }
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
    assert outputs(out) == ["astronaut.jpg", "trip/day 1/two.jpg"]


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
    assert outputs(out) == ["astronaut.jpg"]


def test_what_is_left_out_and_what_failed_are_summed_up(vpp, photo, astronaut, tmp_path):
    folder, out = photo.parent, tmp_path / "out"
    for name in ("one.jfif", "two"):
        (folder / name).write_bytes(photo.read_bytes())
    (folder / "notes.txt").write_text("no picture")
    done = vpp.run("protect", folder, "--engine", "blur", "--out", out, "--json")
    assert done.code == 0
    assert outputs(out) == ["astronaut.jpg", "one.jpg", "two.jpg"]
    (skipped,) = json.loads(done.out)["skipped"]
    assert skipped["input"] == str(folder / "notes.txt")
    assert f"left out: {folder / 'notes.txt'}: {skipped['reason']}" in done.err
    assert done.err.rstrip().endswith(f"3 protected, 1 left out, in {out}")
    (folder / "bad.jpg").write_bytes(b"no picture")
    done = vpp.run("protect", folder, "--engine", "blur", "--out", out)
    summary = f"1 not protected, 0 protected, 3 were there already, 1 left out, in {out}."
    assert (done.code, done.error.endswith(summary)) == (2, True)
    (folder / "worse.jpg").write_bytes(b"no picture")
    done = vpp.run("protect", folder, "--engine", "blur", "--out", out)
    assert done.err.rstrip().endswith(summary.replace("1 not", "2 not"))
    assert done.err.count("vpp: ") == 2


def test_heic_is_read_where_its_decoder_is_installed(vpp, astronaut, tmp_path):
    heif = pytest.importorskip("pillow_heif")
    picture = tmp_path / "telephone.HEIC"
    heif.from_pillow(astronaut).save(picture)
    done = vpp.run("protect", picture, "--engine", "blur", "--level", 0, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    with Image.open(tmp_path / "out" / "telephone.jpg") as protected:
        assert difference(protected, astronaut) < 6


def many(photo, folder, count):
    """Pictures that differ, in several folders."""
    with Image.open(photo) as picture:
        for number in range(count):
            path = folder / f"roll {number % 3}" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.resize((400 + number, 320)).save(path)
    return folder


def test_a_folder_that_was_killed_is_finished_by_the_same_command(vpp, photo, artifact, tmp_path):
    folder = many(photo, tmp_path / "many", 40)
    before = {path: digest(path) for path in folder.rglob("*.jpg")}
    command = ("protect", folder, "--artifact", artifact, "--level", 0.7, "--json", "--out")
    assert vpp.run(*command, tmp_path / "whole").code == 0
    out = tmp_path / "out"
    killed = vpp.start(*command, out)
    wait_until(lambda: len(outputs(out)) >= 5)
    killed.signal(signal.SIGKILL)
    assert killed.wait().code == -signal.SIGKILL
    there = outputs(out)
    assert 5 <= len(there) < 40
    for name in there:
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    resumed = vpp.run(*command, out)
    assert resumed.code == 0
    result = json.loads(resumed.out)
    assert [entry["output"] for entry in result["unchanged"]] == [str(out / name) for name in there]
    assert len(result["protected"]) == 40 - len(there)
    assert (
        outputs(out)
        == outputs(tmp_path / "whole")
        == sorted(str(path.relative_to(folder)) for path in before)
    )
    for name in outputs(out):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert {path: digest(path) for path in folder.rglob("*") if path.is_file()} == before


def test_an_interrupted_folder_says_how_to_go_on(vpp, photo, tmp_path):
    folder = many(photo, tmp_path / "many", 40)
    out = tmp_path / "out"
    stopped = vpp.start("protect", folder, "--engine", "blur", "--out", out)
    wait_until(lambda: outputs(out))
    stopped.signal(signal.SIGINT)
    done = stopped.wait()
    assert done.code == 130
    assert re.search(r"interrupted. \d+ pictures were protected; run the same command again", done.error)
    assert len(outputs(out)) < 40
    assert vpp.run("protect", folder, "--engine", "blur", "--out", out).code == 0
    assert len(outputs(out)) == 40


def test_progress_names_the_pace_and_the_last_line_what_was_done(vpp, photo, tmp_path):
    folder = many(photo, tmp_path / "many", 4)
    done = vpp.run("protect", folder, "--engine", "blur", "--out", tmp_path / "out", "--workers", 2)
    assert done.out == ""
    assert "4/4" in done.err
    assert re.search(r"\d images/s", done.err)
    assert "ETA" in done.err
    assert done.err.rstrip().endswith(f"4 protected, in {tmp_path / 'out'}")
    again = vpp.run("protect", folder, "--engine", "blur", "--out", tmp_path / "out")
    assert again.err.rstrip().endswith(f"0 protected, 4 were there already, in {tmp_path / 'out'}")


def test_outputs_are_made_smaller_on_request(vpp, photo, artifact, tmp_path):
    command = ("protect", photo, "--artifact", artifact, "--out")
    assert vpp.run(*command, tmp_path / "same").code == 0
    assert vpp.run(*command, tmp_path / "small", "--size", 96).code == 0
    assert vpp.run(*command, tmp_path / "fit", "--size", "fit").code == 0
    sizes = [Image.open(tmp_path / name / "astronaut.jpg").size for name in ("same", "small", "fit")]
    assert sizes == [(384, 320), (96, 80), (384, 320)]
    assert "exists" in vpp.run(*command, tmp_path / "small", "--size", 90).error
    for size in ("0", "-1", "largest", "99999", "²"):
        done = vpp.run(*command, tmp_path / "none", "--size", size)
        assert (done.code, "--size must be same, fit" in done.error) == (2, True)


def test_the_largest_picture_is_chosen_by_an_option_that_the_refusal_names(vpp, tmp_path):
    source = tmp_path / "telephone.jfif"
    Image.new("L", (12_000, 9_000)).save(source, "JPEG")
    command = ("protect", source, "--engine", "pixelate", "--size", 300, "--out", tmp_path / "out")
    refused = vpp.run(*command, "--max-pixels", 20_000_000)
    assert (refused.code, "--max-pixels" in refused.error) == (2, True)
    assert vpp.run(*command).code == 0  # decoded at the size that is needed
    assert Image.open(tmp_path / "out" / "telephone.jpg").size == (300, 225)


def test_another_level_or_artifact_is_not_taken_for_done(vpp, photo, artifact, tmp_path):
    command = ("protect", photo, "--out", tmp_path / "out")
    assert vpp.run(*command, "--artifact", artifact, "--level", 0.4).code == 0
    assert vpp.run(*command, "--artifact", artifact, "--level", "balanced").code == 0
    assert "exists" in vpp.run(*command, "--artifact", artifact, "--level", 0.5).error
    assert "exists" in vpp.run(*command, "--engine", "blur", "--level", 0.4).error
