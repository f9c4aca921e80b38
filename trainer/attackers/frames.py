"""Ways to look at a clip: at its frames together, at one alone, or at a picture that is made of all.

A clip may show more than any frame of it does: noise that is new in each frame goes away in their mean, what one frame
covers may be open in another. Attackers that take those ways say whether it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

FrameView = Literal["all", "one", "mean", "median", "weakest"]
"""``all`` frames, each read and the readings averaged; ``one``, in the middle; the ``mean`` or the ``median`` of all
pixel by pixel; or the ``weakest``, in which an attribute is read with the greatest certainty."""
VIEWED: Final[Mapping[FrameView, tuple[str, str]]] = {
    "all": ("", ""),
    "one": (", single frames", " of one frame of each clip"),
    "mean": (", mean of frames", " of the mean of each clip's frames"),
    "median": (", median of frames", " of the median of each clip's frames"),
    "weakest": (
        ", weakest frame",
        " of one frame of each clip, reading in each the frame that it is surest of",
    ),
}
"""View -> what it adds to the name of an attacker, and to its description."""


def looked_at(images: Tensor, view: FrameView, *, learning: bool = False) -> Tensor:
    """Return what an attacker sees of clips.

    Args:
        images: Clips, ``uint8`` of shape ``[N, T, 3, H, W]``; images, ``[N, 3, H, W]``, are returned as they are.
        view: The way to look.
        learning: Whether the attacker learns. It learns single frames to look for the weakest.

    Returns:
        ``uint8``, shape ``[N, T, 3, H, W]`` for all and the weakest, ``[N, 3, H, W]`` else.
    """
    if images.ndim == 4 or view == "all" or (view == "weakest" and not learning):
        return images
    if view == "mean":
        return torch.stack([clip.float().mean(dim=0).round().to(torch.uint8) for clip in images])
    if view == "median":
        return images.median(dim=1).values
    return images[:, images.shape[1] // 2]


def surest(logits: Tensor) -> Tensor:
    """Take the logits of the frame in which an attribute is read with the greatest certainty.

    Args:
        logits: Of each frame, shape ``[N, T, K]``.

    Returns:
        Shape ``[N, K]``.
    """
    frames = logits.softmax(dim=-1).amax(dim=-1).argmax(dim=1)
    return logits[torch.arange(len(logits)), frames]
