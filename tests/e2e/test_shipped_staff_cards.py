"""The artifact `staff-cards`, which comes with the package, on drawn cards with portraits of nobody."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from langchain_vpp import ImageProtector
from langchain_vpp.artifact import GRAPH, artifact_folder, load_engine, read_manifest
from langchain_vpp.errors import DomainWarning
from trainer.recipes.staff_cards.out_of_distribution import part_shown
from trainer.recipes.staff_cards.pretraining import ONE_GREY
from trainer.sandbox.drawing.cards import CARD_TASKS, TEXTS, draw_card
from trainer.sandbox.drawing.portraits import read_portraits
from trainer.sandbox.vision.card_model import CARDS
from trainer.sandbox.vision.local_model import LocalVisionModel, to_tensor

if TYPE_CHECKING:
    from trainer.sandbox.drawing.cards import Card

FACES = Path(__file__).parents[3] / "shared" / "data" / "fairface"
_LABELS = {"gender": "female", "age_group": "30-39", "race": "White"}
_COUNT = 120


@pytest.fixture(scope="module")
def cards() -> list[Card]:
    made = []
    for number in range(_COUNT):
        generator = np.random.default_rng((11, number))
        noise = generator.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        face = Image.fromarray(noise).resize((128, 128), Image.Resampling.BICUBIC)
        made.append(draw_card(generator, face, _LABELS))
    return made


@pytest.fixture(scope="module")
def protected(cards) -> list[Image.Image]:
    # Some of these cards are unfamiliar, because their portraits are noise; the network is looked at all the same.
    protector = ImageProtector.from_pretrained("staff-cards", on_unfamiliar="warn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DomainWarning)
        return [protector.protect_image(card.image) for card in cards]


def test_few_cards_are_taken_for_unfamiliar_though_their_portraits_are_noise(cards):
    engine = load_engine("staff-cards")
    level = read_manifest(artifact_folder("staff-cards"))[0].presets["balanced"]
    known = [engine.judged(card.image, level).is_familiar for card in cards]
    assert np.mean(known) >= 0.9
    turned = [engine.judged(card.image.rotate(90, expand=True), level).is_familiar for card in cards[:30]]
    assert not any(turned)


def test_private_parts_are_grey_and_fields_are_there(cards, protected):
    pairs = list(zip(cards, protected, strict=True))
    assert np.mean([part_shown(card, image, "portrait") > 0.2 for card, image in pairs]) == 0
    # Looser than the audit on real portraits: noise in the place of a face is not what it has learned from.
    for name in TEXTS:
        assert np.mean([part_shown(card, image, name) > 0.2 for card, image in pairs]) <= 0.1, name
    for name in CARD_TASKS:
        assert np.mean([part_shown(card, image, name) > 0.2 for card, image in pairs]) >= 0.75, name


@pytest.mark.skipif(not FACES.is_dir(), reason="needs the FairFace photographs in ../shared/data")
def test_portraits_of_people_are_one_grey():
    protector, shares = ImageProtector.from_pretrained("staff-cards"), []
    for number, portrait in enumerate(read_portraits(FACES)["test"][:_COUNT]):
        card = draw_card(np.random.default_rng((12, number)), portrait.open(), portrait.attributes)
        image = protector.protect_image(card.image)
        inside = Image.new("1", image.size)
        ImageDraw.Draw(inside).polygon(card.outline("portrait"), fill=1)
        pixels = np.asarray(image)[np.asarray(inside)]
        shares.append(np.mean(np.any(pixels != ONE_GREY, axis=1)))
    # Somebody can be found by grey levels that differ by one.
    assert np.mean(np.array(shares) == 0) >= 0.9
    assert np.mean(shares) < 0.005


def test_the_local_model_still_reads_the_fields(cards, protected):
    vision = LocalVisionModel.load(subject=CARDS)
    believed = vision.log_probabilities(torch.stack([to_tensor(image, CARDS.size) for image in protected]))
    for name in CARD_TASKS:
        read = [CARDS.choices[name][index] for index in believed[name].argmax(1).tolist()]
        assert np.mean([word == card.labels[name] for word, card in zip(read, cards, strict=True)]) >= 0.8, (
            name
        )


def test_it_says_what_it_is_and_whom_it_is_owed_to():
    folder = artifact_folder("staff-cards")
    manifest, _ = read_manifest(folder)
    assert "FairFace" in manifest.attribution
    assert "CC BY 4.0" in manifest.attribution
    assert manifest.licence
    assert set(manifest.presets) == {"low", "balanced", "high"}
    assert manifest.attribution in (folder / "README.md").read_text(encoding="utf-8")
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5_500_000


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "default"),
        ("protect", "card.png", "--out", "protected"),  # takes this artifact when it is given none
        ("evaluate", "default", "--data", "nothing", "--out", "report.json"),
        ("export", "default", "--data", "nothing"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_command_says_once_which_artifact_default_is(vpp, arguments):
    Image.new("RGB", (320, 224)).save(vpp.folder / "card.png")
    done = vpp.run(*arguments)
    said = [line for line in done.err.splitlines() if "'default'" in line]
    assert len(said) == 1, done.err
    assert said[0].startswith("warning: 'default' is the artifact 'staff-cards'")


def test_it_is_served_in_int8_without_torch():
    assert GRAPH in read_manifest(artifact_folder("staff-cards"))[0].files
    assert load_engine("staff-cards").name == "onnx"
    code = (
        "import sys; from PIL import Image; from langchain_vpp import ImageProtector; "
        "ImageProtector.from_pretrained('staff-cards').protect_image(Image.new('RGB', (320, 224))); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
