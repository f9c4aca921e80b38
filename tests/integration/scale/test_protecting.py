"""Pictures on a cluster of three nodes: none is lost and none done twice, whatever dies."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest
from PIL import Image

from langchain_vpp.artifact import artifact_folder
from langchain_vpp.batch import plan, protect_files
from langchain_vpp.cli.protection import Protection
from trainer.scale.ray import Cluster

pytestmark = pytest.mark.slow(seconds=60)
PIXELATE = Protection(engine="pixelate")


@pytest.fixture
def originals(tmp_path):
    folder = tmp_path / "originals"
    for number in range(90):
        path = folder / str(number % 3) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40 + number, 32), 60).convert("RGB").save(path)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    return folder


def run(cluster, originals, out, *, on_outcome=lambda _: None):
    machines = Cluster(cluster.address)
    jobs, others = machines.plan([str(originals)], str(out))
    copies = list(others)
    settings = PIXELATE.build()[1]
    for copy in machines.protect_files(jobs, str(out), PIXELATE, settings=settings):
        copies.append(copy)
        on_outcome(copies)
    return copies


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".vpp" not in path.parts
    }


def test_a_node_dies_and_no_picture_is_lost_or_done_twice(cluster, originals, tmp_path):
    out = tmp_path / "out"

    def stop_a_node(copies):
        if len(copies) == 10:
            cluster.remove_node(cluster.more.pop(), allow_graceful=False)

    copies = run(cluster, originals, out, on_outcome=stop_a_node)
    assert Counter(copy.status for copy in copies) == {"protected": 90, "failed": 1}
    assert len({copy.source for copy in copies}) == 91

    alone = tmp_path / "alone"
    jobs, _ = plan([originals], alone)
    protector, settings = PIXELATE.build()
    list(protect_files(jobs, alone, protector, settings=settings))
    assert contents(out) == contents(alone)

    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}
    again = run(cluster, originals, out)
    assert Counter(copy.status for copy in again) == {"unchanged": 90, "failed": 1}
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")} == before

    # And the command without a cluster knows them too.
    jobs, _ = plan([originals], out)
    there = Counter(copy.status for copy in protect_files(jobs, out, protector, settings=settings))
    assert there == {"unchanged": 90, "failed": 1}


def test_a_machine_with_another_version_protects_nothing(cluster, originals, tmp_path):
    machines = Cluster(cluster.address)
    jobs, _ = machines.plan([str(originals / "0")], str(tmp_path / "out"))
    other = {**PIXELATE.build()[1], "version": "0.0"}
    copies = list(machines.protect_files(jobs, str(tmp_path / "out"), PIXELATE, settings=other))
    assert {copy.status for copy in copies} == {"failed"}
    assert all("same version" in copy.reason for copy in copies)
    assert contents(tmp_path / "out") == {}


def test_an_artifact_of_ones_own_is_sent_along(cluster, originals, tmp_path):
    run_folder = tmp_path / "run"
    shutil.copytree(artifact_folder("staff-cards"), run_folder)
    protection = Protection(artifact=str(run_folder))
    protector, settings = protection.build()
    machines = Cluster(cluster.address)
    jobs, _ = machines.plan([str(originals / "0")], str(tmp_path / "out"))
    copies = list(machines.protect_files(jobs[:3], str(tmp_path / "out"), protection, settings=settings))
    assert [copy.status for copy in copies] == ["protected"] * 3
    for copy in copies:
        assert copy.target.read_bytes() == protector.protect_file(copy.source.read_bytes()).encoded
