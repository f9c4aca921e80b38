"""Artifacts of networks that have learned nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from langchain_vpp.artifact import Manifest, save_artifact
from langchain_vpp.network.protector import Protector, ProtectorConfig

if TYPE_CHECKING:
    from pathlib import Path


def manifest(**changes: Any) -> Manifest:
    """A manifest that claims as little as one can."""
    claims = {
        "protector": {}, "private_attributes": {}, "questions": (), "trained_against": "m", "access": "labels",
        "queries": 0, "steps": 0, "seed": 0, "data_digest": "", "created_with": "test",
    }  # fmt: skip
    return Manifest.model_validate(claims | changes)


def small_protector(resolution: int = 64) -> Protector:
    """The same small network every time."""
    torch.manual_seed(0)
    return Protector(ProtectorConfig(width=8, blocks=(1, 1, 1), working_resolution=resolution))


def save_untrained(folder: Path, *, resolution: int = 64, **changes: Any) -> str:
    """Write such an artifact, and return its digest."""
    return save_artifact(folder, small_protector(resolution), manifest(**changes))
