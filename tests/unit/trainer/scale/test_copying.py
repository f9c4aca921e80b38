"""Parts of the work on many pictures, in one process: what dies is done again, and what is done stays."""

from __future__ import annotations

import io
import threading

import pytest
from PIL import Image

from langchain_vpp import ImageProtector, ProtectionError
from langchain_vpp.batch import Job
from langchain_vpp.engines import Pixelate
from trainer.scale import stores
from trainer.scale.copying import Copying, Part, divide, plan
from trainer.scale.stores import StalledError, located, within, write_whole

upath = pytest.importorskip("upath", reason="needs universal-pathlib, of the extra ray")
SETTINGS = {"engine": "pixelate"}


def picture(seed=0, kind="PNG"):
    file = io.BytesIO()
    Image.effect_noise((24 + seed, 16), 60).convert("RGB").save(file, kind)
    return file.getvalue()


@pytest.fixture
def store():
    """A store of objects, empty again after the test."""
    root = upath.UPath("memory://bucket")
    yield root
    if root.fs.exists(root.path):
        root.fs.rm(root.path, recursive=True)


@pytest.fixture(params=["disk", "store"])
def places(request, tmp_path, store):
    """Folder of three originals, and folder of their copies."""
    root = upath.UPath(tmp_path) if request.param == "disk" else store
    for number in range(3):
        path = root / "in" / "deep" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    if request.param == "disk":
        (root / "out" / ".vpp").mkdir(parents=True)
    return str(root / "in"), str(root / "out")


def copying(out, *, engine=None, overwrite=False):
    protector = ImageProtector(engine or Pixelate(), level=0.5)
    return Copying(out, protector, SETTINGS, overwrite=overwrite)


def parts(places, most=3):
    jobs, others = plan([places[0]], places[1])
    assert others == []
    return list(divide([(str(job.source), str(job.target)) for job in jobs], places[1], most=most))


def test_a_part_survives_the_way_to_another_process(places):
    (part,) = parts(places)
    assert Part.of_text(part.as_text()) == part


def test_copies_are_made_once_and_are_those_of_one_machine(places):
    (part,) = parts(places)
    assert [copy.status for copy in copying(places[1]).complete(part)] == ["protected"] * 3
    expected = (
        ImageProtector(Pixelate(), level=0.5).protect_file(located(part.jobs[1][0]).read_bytes()).encoded
    )
    made = located(places[1]) / "deep" / "1.jpg"
    assert made.read_bytes() == expected
    (again,) = parts(places)
    assert [copy.status for copy in copying(places[1]).complete(again)] == ["unchanged"] * 3
    made.write_bytes(b"changed by somebody")
    (again,) = parts(places)
    outcomes = copying(places[1]).complete(again)
    assert [copy.status for copy in outcomes] == ["unchanged", "failed", "unchanged"]
    assert "--overwrite" in outcomes[1].reason
    assert made.read_bytes() == b"changed by somebody"
    assert copying(places[1], overwrite=True).complete(again)[1].status == "protected"


class _Dying(Pixelate):
    """Kills its process, as far as a test can, at one of the pictures."""

    def __init__(self, at):
        self.at, self.seen = at, 0

    def protect(self, image, level):
        self.seen += 1
        if self.seen == self.at:
            raise SystemExit
        return super().protect(image, level)


def test_the_work_of_a_process_that_died_is_taken_up_and_told_as_made(places, monkeypatch):
    monkeypatch.setattr("trainer.scale.copying._HELD_BYTES", 1)  # each copy is written at once
    (part,) = parts(places)
    with pytest.raises(SystemExit):
        copying(places[1], engine=_Dying(3)).complete(part)
    rest = _Dying(0)
    assert [copy.status for copy in copying(places[1], engine=rest).complete(part)] == ["protected"] * 3
    assert rest.seen == 1
    assert not list((located(places[1]) / ".vpp").glob("begun-*"))


def test_a_part_that_kills_every_process_is_given_up(places):
    (part,) = parts(places)
    for _ in range(3):
        with pytest.raises(SystemExit):
            copying(places[1], engine=_Dying(1)).complete(part)
    assert copying(places[1]).complete(part) == []
    # In another part, the pictures have their chance.
    singles = parts(places, most=1)
    assert [copy.status for part in singles for copy in copying(places[1]).complete(part)] == [
        "protected"
    ] * 3


def test_two_processes_on_one_part_leave_whole_files_and_notes_of_both(places):
    (part,) = parts(places)
    threads = [threading.Thread(target=copying(places[1]).complete, args=(part,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (again,) = parts(places)
    assert [copy.status for copy in copying(places[1]).complete(again)] == ["unchanged"] * 3


def test_what_cannot_be_read_or_protected_fails_alone(places):
    (part,) = parts(places)
    located(part.jobs[0][0]).write_bytes(b"no picture")
    located(part.jobs[1][0]).unlink()
    outcomes = copying(places[1]).complete(part)
    assert [copy.status for copy in outcomes] == ["failed", "failed", "protected"]
    assert outcomes[1].reason == "there is no such file."
    assert not (located(places[1]) / "deep" / "0.jpg").exists()


@pytest.mark.parametrize("name", ["../escaped.png", "a/../../escaped.png", "a//b.png", "a\\..\\b.png"])
def test_a_key_that_leads_out_of_the_folder_is_refused(store, name, monkeypatch):
    (store / "in").mkdir(parents=True)
    monkeypatch.setattr(type(store.fs), "find", lambda *_, **__: [f"/bucket/in/{name}"])
    jobs, others = plan([str(store / "in")], str(store / "out"))
    assert jobs == []
    assert any("leads out of the folder" in copy.reason for copy in others)


def test_a_store_is_planned_like_a_disk(store):
    files = {"a.PNG": "a.jpg", "a.webp": "a.jpg", "n": "n.jpg", "text.txt": None, "b/c.jpeg": "b/c.jpg"}
    for name in files:
        (store / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (store / "in" / name).write_bytes(b"words" if name == "text.txt" else picture())
    jobs, others = plan([str(store / "in")], str(store / "out"))
    assert {str(job.target).rpartition("/out/")[2] for job in jobs} == {"a.jpg", "n.jpg", "b/c.jpg"}
    assert {copy.status for copy in others} == {"failed", "skipped"}
    assert "already the output" in next(copy.reason for copy in others if copy.status == "failed")
    with pytest.raises(ProtectionError, match="holds the originals"):
        plan([str(store / "in")], str(store / "in"))
    inside, _ = plan([str(store / "in")], str(store / "in" / "out"))
    assert len(inside) == 3


def test_a_disk_may_be_protected_into_a_store(tmp_path, store):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.png").write_bytes(picture())
    jobs, others = plan([str(tmp_path / "in")], str(store))
    assert (jobs, others) == ([Job(tmp_path / "in" / "x.png", store / "x.jpg")], [])


def test_an_unknown_store_or_a_missing_package_is_named():
    with pytest.raises(ProtectionError, match="knows no store nowhere://"):
        located("nowhere://bucket")
    with pytest.raises(ProtectionError, match=r"gs.*pip install"):
        located("gs://bucket/folder")


def test_a_store_that_stalls_is_given_up(monkeypatch, store):
    never = threading.Event()
    with pytest.raises(StalledError, match="did not answer in time"):
        within(never.wait, 0.01)
    monkeypatch.setattr(stores, "STALLED_S", 0.01)
    monkeypatch.setattr(type(store.fs), "pipe_file", lambda *_, **__: never.wait())
    with pytest.raises(OSError, match="did not answer in time"):
        write_whole(store / "x", b"x", store)
