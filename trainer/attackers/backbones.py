"""Attackers' backbones: image classifiers of torchvision with a linear head for every private attribute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import torch
from torch import Tensor, nn

from langchain_vpp.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Backbone = Literal["resnet10", "resnet18", "mobilenet_v3_small"]
"""``resnet10`` is torchvision's residual network with one block per stage in place of two; nobody publishes weights."""

BACKBONE_SIDE: Final = 80
"""Longest side, in pixels, at which torchvision's networks look; at full size they would take most of the time."""

_HEADS: Final[Mapping[Backbone, str]] = {
    "resnet10": "fc.",
    "resnet18": "fc.",
    "mobilenet_v3_small": "classifier.3.",
}


class BackboneClassifier(nn.Module):
    """A torchvision network whose last layer gives the logits of all attributes.

    Dropout is switched off, so that training draws no randomness of its own.

    Args:
        backbone: Name of the network.
        classes: Number of classes of each attribute.
        weights: State dict of this network as torchvision publishes it; its last layer is ignored. Random weights if
            not given.

    Raises:
        TrainingError: If the weights belong to another network.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, backbone: Backbone, classes: tuple[int, ...], *, weights: Mapping[str, Tensor] | None = None
    ) -> None:
        from torchvision import models  # noqa: PLC0415  takes seconds to load

        super().__init__()
        self.classes = classes
        network: nn.Module = (
            models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=sum(classes))
            if backbone == "resnet10"
            else getattr(models, backbone)(weights=None, num_classes=sum(classes))
        )
        for layer in network.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
        if weights is not None:
            _load(network, weights, backbone)
        self.network = network
        # The normalisation of torchvision's weights; any other weights get used to it.
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225])[:, None, None])

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Classify images.

        Args:
            images: In [0, 1], shape ``[B, 3, H, W]``.

        Returns:
            Logits of each attribute, ``[B, K_a]``.
        """
        logits: Tensor = self.network((images - self.mean) / self.deviation)
        parts: tuple[Tensor, ...] = logits.float().split(self.classes, dim=1)  # type: ignore[no-untyped-call]
        return parts


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from ``.safetensors`` or from a file of ``torch.save``; nothing in the file is executed.

    Raises:
        TrainingError: If the file can't be read or holds anything but named tensors.
    """
    failure, state = "", {}
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file  # noqa: PLC0415

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  both readers have many types; all mean the same here
        failure = type(error).__name__
    if failure:
        raise TrainingError(
            f"weights {path} could not be read ({failure}). Give a state dict; nothing was measured."
        )
    if not isinstance(state, dict) or not all(isinstance(each, Tensor) for each in state.values()):
        raise TrainingError(
            f"weights {path} are no state dict: save the network's state_dict() and give that."
        )
    return state


def _load(network: nn.Module, weights: Mapping[str, Tensor], backbone: Backbone) -> None:
    head = _HEADS[backbone]
    wrong = False
    try:
        left = network.load_state_dict(
            {name: value for name, value in weights.items() if not name.startswith(head)}, strict=False
        )
        wrong = bool(left.unexpected_keys) or any(not name.startswith(head) for name in left.missing_keys)
    except RuntimeError:  # shapes differ
        wrong = True
    if wrong:
        raise TrainingError(f"the weights are not those of torchvision's {backbone}; nothing was measured.")
