"""Checkpoints that a crash can't damage."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from pathlib import Path


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint; a crash leaves either the old file or the new one, whole.

    Args:
        state: Tensors, numbers, strings and containers of them.
        path: File to write; missing folders are made.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, temporary)
    temporary.replace(path)
