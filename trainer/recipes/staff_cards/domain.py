"""Domain of the staff cards' artifact: cards of every size, which are known, and what is told from them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import numpy as np

from langchain_vpp.artifact import load_artifact, save_domain
from langchain_vpp.engines.learned import LearnedEngine
from langchain_vpp.errors import ArtifactError
from langchain_vpp.images.codec import decode_image
from trainer.data.format import SPLITS
from trainer.sandbox.drawing.cards import draw_card
from trainer.sandbox.drawing.portraits import read_portraits
from trainer.training.domain import MOST, fit_domain

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from trainer.data.format import Split

_STREAM: Final = 109
"""Second word of a drawing's seed; see :mod:`trainer.recipes.staff_cards.pretraining`."""
_WIDTHS: Final = (320, 320, 320, 360, 400, 480, 640, 800)
"""Widths of cards, pixels. Photographs are larger than what the protector works on, and look sharper when scaled."""


def draw_familiar(faces: Path, split: Split, count: int, *, seed: int) -> list[Image.Image]:
    """Draw cards of several sizes, as JPEG files of several qualities show them.

    Args:
        faces: Portraits; see :mod:`trainer.sandbox.drawing.portraits`.
        split: Split of the portraits.
        count: Number of cards.
        seed: Seed of the drawings.

    Raises:
        DataError: If the portraits can't be used.
    """
    portraits, cards = read_portraits(faces)[split], []
    for number in range(count):
        generator = np.random.default_rng((seed, _STREAM, SPLITS.index(split), number))
        portrait = portraits[int(generator.integers(len(portraits)))]
        width = _WIDTHS[int(generator.integers(len(_WIDTHS)))]
        card = draw_card(generator, portrait.open(), portrait.attributes, width=width)
        file = io.BytesIO()
        card.image.save(file, "JPEG", quality=int(generator.integers(75, 96)))
        cards.append(decode_image(file.getvalue()))
    return cards


def fit_cards_domain(artifact: Path, faces: Path, *, seed: int) -> str:
    """Fit the domain of the artifact, and return the artifact's new digest.

    Args:
        artifact: The artifact, with the graphs that are served.
        faces: Portraits.
        seed: Seed of the drawings.

    Raises:
        DataError: If the portraits can't be used.
        ArtifactError: If the artifact can't be loaded or written.
    """
    _, engine, manifest, _ = load_artifact(artifact)
    if not isinstance(engine, LearnedEngine):
        raise ArtifactError(f"{artifact} has no network, so no domain was fitted.")
    train, val = (draw_familiar(faces, split, MOST, seed=seed) for split in ("train", "val"))
    knots = manifest.protector["level_knots"]
    return save_domain(artifact, *fit_domain(engine, train, val, knots=knots, seed=seed))
