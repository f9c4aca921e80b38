"""Copies of folders: what is done stays done, what is written is whole, and no original is ever an output."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock
from PIL import Image

from langchain_vpp import ImageProtector, ProtectionError
from langchain_vpp.batch import Copy, Job, plan, protect_files
from langchain_vpp.engines import Pixelate
from langchain_vpp.guard.unfamiliar import ProtectedFile  # noqa: TC001  for annotations

SETTINGS = {"engine": "pixelate", "level": 0.5}


@pytest.fixture
def originals(tmp_path: Path) -> Path:
    folder = tmp_path / "originals"
    for number in range(6):
        path = folder / f"day {number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((60 + number, 40), 60).convert("RGB").save(path)
    return folder


def run(paths: list[Path], out: Path, *, engine: object = None, **options: object) -> list[Copy]:
    jobs, failed = plan(paths, out)
    protector = ImageProtector(engine or Pixelate(), level=0.5)  # type: ignore[arg-type]
    options = {"settings": SETTINGS} | options
    done = list(protect_files(jobs, out, protector, **options))  # type: ignore[arg-type]
    return sorted([*failed, *done])


def count(copies: list[Copy], status: str) -> int:
    return sum(copy.status == status for copy in copies)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".vpp" not in path.parts
    }


def test_every_number_of_workers_makes_the_same_files(originals: Path, tmp_path: Path) -> None:
    made = []
    for workers in (1, 2, 8):
        copies = run([originals], tmp_path / str(workers), workers=workers)
        assert count(copies, "protected") == 6
        made.append(contents(tmp_path / str(workers)))
    assert made[0] == made[1] == made[2]
    assert list(made[0]) == [f"day {n % 2}/{n}.jpg" for n in (0, 2, 4, 1, 3, 5)]


def test_pictures_are_in_work_at_the_same_time(originals: Path, tmp_path: Path) -> None:
    class Together(Pixelate):
        meeting = threading.Barrier(3, timeout=30)

        def protect(self, image: Image.Image, level: float) -> Image.Image:
            self.meeting.wait()  # broken, and so an error, unless three threads come
            return super().protect(image, level)

    assert count(run([originals], tmp_path / "out", engine=Together(), workers=3), "protected") == 6


def test_what_was_made_in_the_same_way_stays(originals: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run([originals], out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}

    class Never(Pixelate):
        def protect(self, image: Image.Image, level: float) -> Image.Image:
            raise AssertionError

    for overwrite in (False, True):
        assert count(run([originals], out, engine=Never(), overwrite=overwrite), "unchanged") == 6
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}


@pytest.mark.parametrize("change", ["level", "original", "output", "link", "journal"])
def test_what_was_made_otherwise_is_kept_and_replaced_on_request_only(
    originals: Path, tmp_path: Path, change: str
) -> None:
    out = tmp_path / "out"
    run([originals], out)
    options: dict[str, object] = {}
    output, elsewhere = out / "day 0" / "0.jpg", tmp_path / "elsewhere.jpg"
    if change == "level":
        options["settings"] = SETTINGS | {"level": 0.6}
    elif change == "original":
        Image.new("RGB", (9, 9)).save(originals / "day 0" / "0.png")
    elif change == "output":
        output.write_bytes(output.read_bytes() + b" ")
    elif change == "link":
        output.rename(elsewhere)
        output.symlink_to(elsewhere)
    else:
        (out / ".vpp" / "done.jsonl").unlink()
    before = contents(out)
    changed = 6 if change in ("level", "journal") else 1
    copies = run([originals], out, **options)
    assert (count(copies, "failed"), count(copies, "unchanged")) == (changed, 6 - changed)
    assert "exists. Choose another --out, or give --overwrite" in copies[0].reason
    assert contents(out) == before
    copies = run([originals], out, overwrite=True, **options)
    assert (count(copies, "protected"), count(copies, "unchanged")) == (changed, 6 - changed)
    assert not output.is_symlink()
    assert count(run([originals], out, **options), "unchanged") == 6


class Killed(BaseException):
    """Stands for SIGKILL: nothing that handles errors may handle it."""


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("step", ["open", "write", "replace"])
def test_a_process_that_dies_at_any_step_leaves_whole_files_and_the_next_one_goes_on(
    originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    whole = tmp_path / "whole"
    run([originals], whole)
    out, left = tmp_path / "out", [number]

    def die_later() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    with monkeypatch.context() as dying:
        real_open, real_replace = Path.open, Path.replace

        def opening(path: Path, mode: str = "r", **options: object) -> object:
            if mode == "xb" and step == "open":
                die_later()
            file = real_open(path, mode, **options)  # type: ignore[call-overload]
            if mode == "xb" and step == "write" and left[0] == 0:
                file.write(b"\xff\xd8half")
                file.close()
                raise Killed
            left[0] -= mode == "xb" and step == "write"
            return file

        def replacing(path: Path, target: Path) -> Path:
            if step == "replace":
                die_later()
            return real_replace(path, target)

        dying.setattr(Path, "open", opening)
        dying.setattr(Path, "replace", replacing)
        with pytest.raises(Killed):
            run([originals], out)
    written = contents(out)
    assert len(written) == number
    assert written.items() <= contents(whole).items()
    copies = run([originals], out)
    assert (count(copies, "unchanged"), count(copies, "protected")) == (number, 6 - number)
    assert contents(out) == contents(whole)
    assert not [path for path in out.rglob("*") if path.name.endswith(".partial")]


def test_a_line_that_was_cut_off_costs_nothing_but_its_picture(originals: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run([originals], out)
    journal = out / ".vpp" / "done.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    last = json.loads(lines[-1])["output"]
    (out / last).unlink()
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    copies = run([originals], out)
    assert (count(copies, "unchanged"), count(copies, "protected")) == (5, 1)
    assert count(run([originals], out), "unchanged") == 6


def test_the_journal_is_for_its_owner_alone(originals: Path, tmp_path: Path) -> None:
    run([originals], tmp_path / "out")
    assert (tmp_path / "out" / ".vpp").stat().st_mode & 0o077 == 0


def test_two_processes_do_not_write_to_one_folder(originals: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / ".vpp").mkdir(parents=True)
    with FileLock(out / ".vpp" / "lock"), pytest.raises(ProtectionError, match="another process is writing"):
        run([originals], out)
    assert contents(out) == {}
    assert count(run([originals], out), "protected") == 6


@pytest.mark.parametrize("link", ["hard", "symbolic", "folder"])
def test_an_output_that_leads_to_an_original_is_refused(tmp_path: Path, link: str) -> None:
    original = tmp_path / "originals" / "a.jpg"
    original.parent.mkdir()
    Image.new("RGB", (8, 8)).save(original)
    before = original.read_bytes()
    out = tmp_path / "out"
    if link == "folder":
        out.symlink_to(original.parent)
    else:
        out.mkdir()
        (os.link if link == "hard" else os.symlink)(original, out / "a.jpg")
    (copy,) = run([original], out, overwrite=True)
    assert (copy.status, "is an original" in copy.reason) == ("failed", True)
    assert original.read_bytes() == before
    assert [path.name for path in original.parent.iterdir()] == ["a.jpg"]


def test_one_bad_picture_stops_no_other_and_nothing_is_written_for_it(
    originals: Path, tmp_path: Path
) -> None:
    bad = originals / "day 0" / "0.png"
    bad.write_bytes(bad.read_bytes()[:100])
    copies = run([originals, tmp_path / "missing.jpg"], tmp_path / "out", workers=2)
    reasons = {copy.source.name: copy.reason for copy in copies if copy.status == "failed"}
    assert set(reasons) == {"0.png", "missing.jpg"}
    assert "cut off" in reasons["0.png"]
    assert count(copies, "protected") == 5
    assert "day 0/0.jpg" not in contents(tmp_path / "out")


def test_nothing_is_created_where_nothing_can_be_protected(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    assert count(run([tmp_path / "a.jpg"], tmp_path / "out"), "failed") == 1
    assert not (tmp_path / "out").exists()


def test_a_failure_that_is_no_refusal_is_not_hidden(originals: Path, tmp_path: Path) -> None:
    class Broken(ImageProtector):
        __slots__ = ()

        def protect_file(self, data: bytes, level: float | str | None = None) -> ProtectedFile:
            raise ZeroDivisionError

    jobs, _ = plan([originals], tmp_path / "out")
    with pytest.raises(ZeroDivisionError):
        list(protect_files(jobs, tmp_path / "out", Broken(Pixelate()), settings=SETTINGS))


def test_results_wait_for_the_disk_in_small_number(tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    jobs = []
    for number in range(40):
        path = tmp_path / f"{number}.png"
        path.write_bytes(picture.getvalue())
        jobs.append(Job(path, tmp_path / "out" / f"{number}.jpg"))
    started = []

    class Counting(Pixelate):
        def protect(self, image: Image.Image, level: float) -> Image.Image:
            started.append(image)
            return super().protect(image, level)

    protector = ImageProtector(Counting(), level=0.5)
    copies = protect_files(jobs, tmp_path / "out", protector, settings=SETTINGS, workers=2)
    next(copies)
    copies.close()
    assert len(started) <= 8


PICTURE = Image.effect_noise((24, 16), 60).convert("RGB")


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    PICTURE.save(file, kind)
    return file.getvalue()


TAKEN = {
    "JPEG": ("a.jpg", "a.JPEG", "a.jfif", "a.jpe", "a.jif", "a.pjpeg", "a.mpo", "a"),
    "PNG": ("a.png", "a.apng", "a"),
    "BMP": ("a.bmp", "a.dib", "a"),
    "TIFF": ("a.tif", "a.TIFF", "a"),
    "GIF": ("a.gif", "a"),
    "WEBP": ("a.webp", "a"),
    "AVIF": ("a.avif", "a"),
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in TAKEN.items() for name in names])
def test_every_picture_of_a_folder_is_taken(tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(encoded(kind))
    (copy,) = run([tmp_path / "in"], tmp_path / "out")
    assert (copy.status, copy.target) == ("protected", tmp_path / "out" / "a.jpg")


def test_what_is_left_out_is_listed_with_its_reason(originals: Path, tmp_path: Path) -> None:
    (originals / "notes.txt").write_text("BM")
    (originals / "README").write_text("BM is no bitmap")
    (originals / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (originals / "elsewhere").symlink_to(tmp_path)
    os.mkfifo(originals / "pipe")
    copies = run([originals], tmp_path / "out")
    left = {copy.source.name: copy.reason for copy in copies if copy.status == "skipped"}
    assert set(left) == {"notes.txt", "README", "gone.jpg", "elsewhere", "pipe"}
    assert all(left.values())
    assert count(copies, "protected") == 6


@pytest.mark.parametrize("place", ["the same folder", "a folder within", "a link to it"])
def test_outputs_are_never_taken_for_originals(originals: Path, tmp_path: Path, place: str) -> None:
    out = {"the same folder": originals, "a folder within": originals / "sub"}.get(place, tmp_path / "link")
    if place == "a link to it":
        out.symlink_to(originals)
    before = contents(originals)
    assert count(run([originals], out), "protected") == 6
    made = contents(originals)
    assert before.items() <= made.items()
    assert len(made) == 12
    for _ in range(2):
        copies = run([originals], out)
        assert [copy.status for copy in copies] == ["unchanged"] * 6
        assert contents(originals) == made
    copies = run([originals], tmp_path / "another")
    assert (count(copies, "protected"), count(copies, "skipped")) == (6, 6)
    assert {copy.reason for copy in copies if copy.status == "skipped"} == {
        "it is the output of an earlier call."
    }


def test_an_original_in_the_place_of_an_output_is_an_original(originals: Path, tmp_path: Path) -> None:
    run([originals], originals)
    photo = originals / "day 0" / "0.jpg"
    PICTURE.save(photo)
    before = photo.read_bytes()
    copies = run([originals], originals, overwrite=True)
    assert [copy.source.name for copy in copies if copy.status == "failed"] == ["0.jpg", "0.png"]
    assert photo.read_bytes() == before


@pytest.mark.parametrize(
    ("first", "second"), [("A.png", "a.png"), ("\u00e9.png", "e\u0301.png"), ("a.png", "a.jfif")]
)
def test_outputs_that_some_disks_take_for_one_are_refused(tmp_path: Path, first: str, second: str) -> None:
    (tmp_path / "in").mkdir()
    for name in (first, second):
        (tmp_path / "in" / name).write_bytes(encoded("PNG"))
    if len(list((tmp_path / "in").iterdir())) < 2:
        pytest.skip("this disk takes them for one")
    copies = run([tmp_path / "in"], tmp_path / "out")
    assert sorted(copy.status for copy in copies) == ["failed", "protected"]
    assert any("is already the output of" in copy.reason for copy in copies)


def test_a_document_is_protected_page_by_page(tmp_path: Path) -> None:
    pytest.importorskip("pypdfium2")
    from langchain_vpp.images.pdf import rasterize_pdf

    page = Image.effect_noise((320, 200), 90).convert("RGB")
    page.save(tmp_path / "a.pdf", save_all=True, append_images=[page], title="secret", author="secret")
    (tmp_path / "b").write_bytes((tmp_path / "a.pdf").read_bytes())
    copies = run([tmp_path], tmp_path / "out")
    assert [copy.status for copy in copies] == ["protected"] * 2
    made = (tmp_path / "out" / "a.pdf").read_bytes()
    assert b"secret" not in made
    pages = rasterize_pdf(made)
    assert len(pages) == 2
    for drawn in pages:
        levels = drawn.convert("L").resize((320, 200)).getextrema()
        assert levels[1] - levels[0] < 120  # noise from black to white, pixelated
    assert [copy.status for copy in run([tmp_path], tmp_path / "out")] == ["unchanged"] * 2


def test_a_document_without_its_extra_is_listed_in_a_folder_and_fails_by_name(
    originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    PICTURE.save(originals / "a.pdf")
    left = [copy for copy in run([originals], tmp_path / "out") if copy.status == "skipped"]
    assert [(copy.source.name, "langchain-vpp[documents]" in copy.reason) for copy in left] == [
        ("a.pdf", True)
    ]
    (copy,) = run([originals / "a.pdf"], tmp_path / "out")
    assert (copy.status, "langchain-vpp[documents]" in copy.reason) == ("failed", True)


def test_pages_of_a_document_share_the_names_of_private_values(tmp_path, monkeypatch) -> None:
    pytest.importorskip("pypdfium2")
    from langchain_vpp import batch
    from tests.given_words import Pages, protector_of

    pages = Pages()
    first, second = pages.draw("Name: Ada Lovelace"), pages.draw("Name: Bo Peterson")
    drawn = [Image.open(io.BytesIO(data)) for data in (first, second, second)]
    monkeypatch.setattr(batch, "rasterize_pdf", lambda data, dpi: drawn)
    source = tmp_path / "letter.pdf"
    source.write_bytes(b"%PDF-1.4")
    protector = protector_of(pages)
    together = batch._protect_together(drawn, protector)
    assert together[1].tobytes() == together[2].tobytes() != protector.protect_image(second).tobytes()
    assert batch._protect_document(source.read_bytes(), protector).startswith(b"%PDF-")


def test_a_video_becomes_a_protected_video(originals: Path, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    from tests.films import gray_film

    (originals / "film.mov").write_bytes(gray_film(6, container="mov"))
    (originals / "no name").write_bytes(gray_film(6))
    (originals / "broken.mp4").write_bytes(b"secret" * 20)
    copies = {copy.source.name: copy for copy in run([originals], tmp_path / "out")}
    assert [copies[name].status for name in ("film.mov", "no name", "broken.mp4")] == ["protected"] * 2 + [
        "failed"
    ]
    assert "secret" not in copies["broken.mp4"].reason
    for name in ("film.mp4", "no name.mp4"):
        with av.open(str(tmp_path / "out" / name)) as made:
            assert len(list(made.decode(video=0))) == 6


def test_a_video_without_its_extra_is_left_out_by_name(originals: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (originals / "film.mp4").write_bytes(b"x")
    (copy,) = [each for each in run([originals], tmp_path / "out") if each.source.name == "film.mp4"]
    assert (copy.status, "langchain-vpp[video]" in copy.reason) == ("skipped", True)
