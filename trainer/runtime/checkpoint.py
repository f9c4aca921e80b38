"""State on disk that a crash can't damage."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write a state; a crash leaves either the old file or the new one, whole.

    Args:
        state: Tensors, numbers, strings and containers of them.
        path: File to write; missing folders are made.

    Raises:
        OSError: If the file can't be written.
        RuntimeError: If torch can't write it, on a full disk for example.
    """
    temporary = path.with_suffix(".tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def fits(network: nn.Module, state: Mapping[str, Tensor]) -> bool:
    """Return whether a network has the weights that a state holds, by name and shape."""
    own = network.state_dict()
    return own.keys() == state.keys() and all(own[name].shape == state[name].shape for name in own)
