"""``vpp demo``: at the smallest sizes that everything runs, and once in full that it shows what it claims."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import httpx
import pytest
from PIL import Image

from langchain_vpp.artifact import read_manifest
from langchain_vpp.images.codec import decode_image, encode_image
from tests.e2e.commands import wait_until
from trainer.evaluation.results import OURS, Report
from trainer.recipes.demo import Files, judge_demo

VPP = Path(sys.executable).with_name("vpp")


def recorded(path: Path) -> list[tuple[str, bytes]]:
    """Purpose and picture of every request."""
    pairs = []
    for line in path.read_text().splitlines():
        body = json.loads(line)
        content = body["messages"][0]["content"]
        (url,) = (part["image_url"]["url"] for part in content if part["type"] == "image_url")
        pairs.append((body["user"], base64.b64decode(url.partition(",")[2])))
    return pairs


def check_requests(files: Files) -> None:
    originals = set()
    for path in (files.data / "images").iterdir():
        picture = decode_image(path.read_bytes())
        originals |= {picture.tobytes(), decode_image(encode_image(picture)).tobytes()}
    showed_original: dict[str, list[bool]] = {}
    for purpose, encoded in recorded(files.requests):
        showed_original.setdefault(purpose, []).append(decode_image(encoded).tobytes() in originals)
    assert set(showed_original) == {"training", "evaluation", "before", "after"}
    assert not any(showed_original["training"])
    assert not any(showed_original["after"])
    assert len(showed_original["after"]) == 6
    assert all(showed_original["before"])  # so that the check is known to find originals
    assert any(showed_original["evaluation"])


def check_result(files: Files, result: dict) -> Report:
    report = Report.model_validate_json(files.report.read_bytes())
    manifest = read_manifest(files.artifact)[0]
    assert result["balanced_level"] == manifest.presets["balanced"]
    assert result["verdict"] == judge_demo(report, manifest.presets["balanced"])._asdict()
    assert [each["private"] for each in result["conversation"]] == [False, True, True]
    assert all(each["before"] == each["truth"] for each in result["conversation"])
    with Image.open(files.contact_sheet) as opened:
        assert min(opened.size) > 200
    drawing = ET.parse(files.front).getroot()
    assert min(int(drawing.get(side)) for side in ("width", "height")) > 200
    check_requests(files)
    return report


@pytest.mark.slow(seconds=40)
def test_the_smallest_demo_goes_on_after_an_interruption_and_runs_to_its_end(vpp, tmp_path):
    out = tmp_path / "demo"
    files = Files.under(out)
    command = vpp.start("demo", "--smoke", "--seed", 3, "--out", out)
    wait_until(lambda: files.requests.exists() and files.requests.read_bytes())
    command.signal(signal.SIGINT)
    stopped = command.wait()
    assert stopped.code == 130
    assert "run the same command again to go on" in stopped.error

    other = vpp.run("demo", "--smoke", "--seed", 4, "--out", out)
    assert other.code == 2
    assert "holds a demo with another seed or other settings. Choose another --out" in other.error

    done = vpp.run("demo", "--smoke", "--seed", 3, "--out", out, "--json")
    assert done.code == 0, done.err
    check_result(files, json.loads(done.out))
    assert "before: the bare model, which was sent the original drawing" in " ".join(done.err.split())
    trained = [encoded for purpose, encoded in recorded(files.requests) if purpose == "training"]
    assert len(trained) <= read_manifest(files.artifact)[0].queries

    (tmp_path / "few.json").write_text(
        '{"levels": [1.0], "baselines": {}, "train_images": 100, "classifiers": ["small"], "cold": []}'
    )
    options = ("--config", tmp_path / "few.json", "--out", tmp_path / "leak.json", "--seed", 3, "--json")
    measured = vpp.run("evaluate", files.artifact, "--data", files.data, *options)
    assert measured.code == 0, measured.err
    report = Report.model_validate_json((tmp_path / "leak.json").read_bytes())
    assert json.loads(measured.out) == report.model_dump(mode="json")
    assert report.model is None
    assert report.queries.tasks == 0
    assert report.of(OURS)[0].leak is not None


def test_the_sandbox_is_served_and_stops_on_ctrl_c(vpp, tmp_path):
    command = subprocess.Popen(
        [VPP, "sandbox", "serve", "--port", "0", "--record", tmp_path / "record.jsonl"],
        stdout=subprocess.PIPE,
        text=True,
    )
    address = json.loads(command.stdout.readline())
    assert address["model"] == "sandbox"
    models = httpx.get(f"{address['base_url']}/models", trust_env=False).json()
    differing = ["sandbox-coarse", "sandbox-text-first", "sandbox-changing"]
    names = [model["id"] for model in models["data"]]
    assert [name for name in names if name != "sandbox-photos"] == [  # it is served where its packages are
        "sandbox",
        "sandbox-b",
        "sandbox-films",
        "cards",
        "sandbox-screens",
        *differing,
    ]
    command.send_signal(signal.SIGINT)
    assert command.wait(20) in {0, 130, -signal.SIGINT}
    command.stdout.close()


def test_help_loads_nothing_large():
    environment = os.environ | {"PYTHONPROFILEIMPORTTIME": "1"}
    done = subprocess.run([VPP, "--help"], capture_output=True, text=True, check=True, env=environment)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in loaded
    assert not loaded & {"torch", "torchvision", "numpy", "langchain_openai"}
    for command in ("demo", "train", "evaluate", "protect", "inspect", "sandbox"):
        assert command in done.stdout


@pytest.mark.slow(seconds=300)
def test_the_demo_shows_what_it_claims(tmp_path):
    out = tmp_path / "demo"
    done = subprocess.run(
        [VPP, "demo", "--out", out, "--json"], capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    files = Files.under(out)
    report = check_result(files, json.loads(done.stdout))
    verdict = judge_demo(report, read_manifest(files.artifact)[0].presets["balanced"])
    assert read_manifest(files.artifact)[0].queries <= 2000
    assert verdict.advantage >= 1.7
    assert verdict.private_excess <= 0.15
    assert verdict.task_kept >= 0.8
    by_level = {point.level: point.leak.value for point in report.of(OURS)}
    assert by_level[1.0] <= 0.4  # by the fresh attacker; 0.07 to 0.18 in eight runs
    assert by_level[1.0] < by_level[0.25]
    assert len(report.of(OURS)) >= 5
