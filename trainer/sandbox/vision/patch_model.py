"""Second local vision model for the drawn scenes, in the place of another provider's model.

It answers the same questions about the same pictures as the model of :mod:`trainer.sandbox.vision.local_model`, about
as well except that it counts less well (its card has the figures). Its weights and its architecture differ: patches
mixed by depthwise kernels and by self-attention instead of plain convolutions. A protector trained against the first
model meets the second as it would meet a new model of its provider; see :mod:`trainer.evaluation.transfer`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from trainer.sandbox.drawing.scenes import SCENE_SIZE
from trainer.sandbox.vision.local_model import SCENES, Block, SceneReader, Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

_PATCH: Final = 4
"""Side of a patch in pixels, without the overlap with its neighbours."""
_FINE: Final = 64
"""Channels of the patches."""
_COARSE: Final = 128
"""Channels of squares of four patches."""
_HEADS: Final = 4


class _Mixing(nn.Module):
    """Mixes each channel over a neighbourhood, then the channels of each cell (Liu et al., ConvNeXt, 2022)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(channels, channels, kernel_size=5, padding=2, groups=channels)
        self.norm = nn.BatchNorm2d(channels)
        self.widen = nn.Conv2d(channels, 2 * channels, kernel_size=1)
        self.narrow = nn.Conv2d(2 * channels, channels, kernel_size=1)

    def forward(self, cells: Tensor) -> Tensor:
        mixed = self.widen(self.norm(self.around(cells)))
        update: Tensor = self.narrow(nn.functional.hardswish(mixed))
        return cells + update


class _Attending(nn.Module):
    """Self-attention among all cells, then a layer on each cell (Vaswani et al., 2017; norms first)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first_norm = nn.LayerNorm(channels)
        self.project = nn.Linear(channels, 3 * channels)
        self.join = nn.Linear(channels, channels)
        self.second_norm = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, 2 * channels)
        self.narrow = nn.Linear(2 * channels, channels)

    def forward(self, cells: Tensor) -> Tensor:
        projected = self.project(self.first_norm(cells)).unflatten(2, (3, _HEADS, -1))
        queries, keys, values = projected.permute(2, 0, 3, 1, 4)  # each [B, heads, cells, channels of a head]
        seen = nn.functional.scaled_dot_product_attention(queries, keys, values)
        cells = cells + self.join(seen.transpose(1, 2).flatten(2))
        update: Tensor = self.narrow(nn.functional.hardswish(self.widen(self.second_norm(cells))))
        return cells + update


class PatchNetwork(SceneReader):
    """Network for scenes: 16 x 16 patches mixed with their neighbours, then 8 x 8 cells that attend to each other."""

    def __init__(self) -> None:
        super().__init__(_COARSE)
        # Overlapping patches are learned several times faster than a grid (Xiao et al., 2021).
        self.patches = nn.Sequential(Block(3, _FINE // 2, 2), Block(_FINE // 2, _FINE, 2), _Mixing(_FINE))
        self.merge = nn.Sequential(nn.BatchNorm2d(_FINE), nn.Conv2d(_FINE, _COARSE, kernel_size=2, stride=2))
        side = SCENE_SIZE // (2 * _PATCH)
        self.place = nn.Parameter(torch.randn(1, side * side, _COARSE) * 0.02)
        self.layers = nn.ModuleList(_Attending(_COARSE) for _ in range(2))
        self.last_norm = nn.LayerNorm(_COARSE)

    def attend(
        self, images: Tensor, attributes: Sequence[str]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the logits of attributes; no attribute has maps of its own."""
        coarse = self.merge(self.patches(images - 0.5))
        cells = coarse.flatten(2).transpose(1, 2) + self.place  # [B, cells, C]
        for layer in self.layers:
            cells = layer(cells)
        return self.read(self.last_norm(cells).transpose(1, 2).unflatten(2, coarse.shape[2:]), attributes), {}


SCENES_B: Final = Subject(
    "sandbox-b",
    SCENES.choices,
    SCENES.patterns,
    SCENES.size,
    PatchNetwork,
    Path(__file__).with_name("patch_weights"),
)
"""The drawn scenes, read by :class:`PatchNetwork`."""
