"""The trainer on a data set that it was not made for: photographs of people at 224 px, with a sticker on each."""

from __future__ import annotations

import base64
import csv
import json
import random
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from langchain_vpp.artifact import read_manifest
from langchain_vpp.images.codec import decode_image
from tests.e2e.conftest import TINY
from tests.e2e.providers import TroubledProvider

FACES = Path(__file__).parents[3] / "shared" / "data" / "fairface"
SIDE = 224
STICKERS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220)}
SPLITS = {"train": 24, "val": 10, "test": 10}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FACES.is_dir(), reason="needs the FairFace photographs in ../shared/data"),
]


def make_photographs(folder: Path) -> None:
    """Put a sticker on photographs: its colour is the task, who is shown is private."""
    generator = random.Random(0)
    with (FACES / "labels.csv").open(newline="") as file:
        people = list(csv.DictReader(file))
    generator.shuffle(people)
    (folder / "photos").mkdir(parents=True)
    lines = []
    for split in (name for name, count in SPLITS.items() for _ in range(count)):
        person = people.pop()
        photo = (
            Image.open(FACES / person["file"]).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        )
        colour = generator.choice(list(STICKERS))
        left, top = generator.randrange(SIDE - 60), generator.randrange(SIDE - 60)
        ImageDraw.Draw(photo).ellipse((left, top, left + 50, top + 50), fill=STICKERS[colour])
        name = f"photos/{len(lines)}.jpg"
        photo.save(folder / name, quality=92)
        task = {"question": "What colour is the sticker?", "answer": colour, "choices": list(STICKERS)}
        private = {"gender": person["gender"], "race": person["race"]}
        lines.append({"image": name, "split": split, "tasks": [task], "private": private})
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))


def test_photographs_of_224_px_are_trained_on_without_code_changes(vpp, tmp_path):
    data, run = tmp_path / "photographs", tmp_path / "run"
    make_photographs(data)
    settings = TINY | {
        "steps": 8,
        "pretraining_steps": 3,
        "max_queries": 30,
        "protector": TINY["protector"] | {"working_resolution": SIDE},
    }
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    with TroubledProvider({}) as provider:
        served = ("--model", "sandbox", "--base-url", provider.base_url)
        done = vpp.run("train", "--data", data, "--config", tmp_path / "settings.json", "--out", run, *served)
    assert done.code == 0, done.err
    assert 0 < len(provider.paid) <= 30
    for url, question in provider.paid:
        assert decode_image(base64.b64decode(url.partition(",")[2])).size == (SIDE, SIDE)
        assert question.startswith("What colour is the sticker?")
    manifest, _ = read_manifest(run)
    assert manifest.protector["working_resolution"] == SIDE
    assert set(manifest.private_attributes) == {"gender", "race"}
    assert manifest.queries == len(provider.paid)
    photo = data / "photos" / "0.jpg"
    done = vpp.run(
        "protect", photo, "--artifact", run, "--level", "balanced", "--out", tmp_path / "protected"
    )
    assert done.code == 0, done.err
    protected = Image.open(tmp_path / "protected" / "0.jpg")
    assert protected.size == (SIDE, SIDE)
    assert protected.tobytes() != Image.open(photo).tobytes()
