"""A small local vision model that answers questions about the drawn scenes.

It stands in for a provider's model in the sandbox: a convolutional network with one head for each attribute,
behind :func:`trainer.sandbox.questions.route`. It is no language model and knows nothing outside the scenes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from langchain_vpp.errors import ArtifactError
from trainer.sandbox.questions import numbered, route
from trainer.sandbox.scenes import PRIVATE_ATTRIBUTES, SCENE_SIZE, TASKS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WEIGHTS: Final = Path(__file__).with_name("weights")
"""Holds ``model.safetensors`` and its card ``model.json``."""

CHOICES: Final[Mapping[str, tuple[str, ...]]] = dict(PRIVATE_ATTRIBUTES) | {
    name: task.choices for name, task in TASKS.items()
}
"""Attribute, private or task -> the words that the model can say about it."""

UNKNOWN: Final = "I don't know."
"""What the model says to a question that is not about an attribute of the scenes."""


class Reply(NamedTuple):
    """What the model says.

    Attributes:
        text: One of the attribute's choices, or :data:`UNKNOWN`.
        attribute: What the question was understood to ask; None if it was not understood, or to several.
        log_probabilities: Choice -> natural logarithm of its probability; empty without an attribute.
    """

    text: str
    attribute: str | None
    log_probabilities: Mapping[str, float]


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
        self.norm: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(outputs)

    def forward(self, cells: Tensor) -> Tensor:
        return torch.relu(self.norm(self.convolution(cells)))

    def fold(self) -> None:
        if isinstance(self.norm, nn.BatchNorm2d):
            self.convolution = fuse_conv_bn_eval(self.convolution, self.norm)
            self.norm = nn.Identity()


class SceneNetwork(nn.Module):
    """Convolutions down to 8 x 8 cells, four attention maps over them, and a linear head for each attribute.

    The attention maps are shared because colours are learned first: they then show the digits' heads where to
    look. A hidden layer in the heads kept the digits from being learned at all.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = ((3, 24, 2), (24, 48, 2), (48, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1))
        self.blocks = nn.ModuleList(_Block(*width) for width in widths)
        self.look = nn.Conv2d(128, 4, kernel_size=1)
        self.norm = nn.LayerNorm(128 * 6)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(128 * 6, len(choices)) for name, choices in CHOICES.items()}
        )

    def forward(self, images: Tensor, attributes: Sequence[str]) -> dict[str, Tensor]:
        """Return the logits of the attributes asked for.

        Args:
            images: ``[B, 3, 64, 64]`` in [0, 1].
            attributes: Keys of :data:`CHOICES`.

        Returns:
            Attribute -> logits, ``[B, number of choices]``.
        """
        cells = images - 0.5
        for block in self.blocks:
            cells = block(cells)
        flat = cells.flatten(2)  # [B, C, cells]
        look = self.look(cells).flatten(2).softmax(2)  # [B, 4, cells]
        seen = torch.bmm(look, flat.transpose(1, 2)).flatten(1)  # [B, 4 * C]
        summary = self.norm(torch.cat([seen, flat.mean(2), flat.amax(2)], dim=1))
        return {name: self.heads[name](summary) for name in attributes}

    def fold(self) -> None:
        """Fold each batch norm into its convolution; for inference only."""
        for block in self.blocks:
            if isinstance(block, _Block):
                block.fold()


class LocalVisionModel:
    """Answers free-text questions about a picture.

    Args:
        network: In evaluation mode.

    Attributes:
        network: The same; gradients pass through it, as they do not through :meth:`log_probabilities`.
    """

    def __init__(self, network: SceneNetwork) -> None:
        self.network = network

    @classmethod
    def load(cls, folder: Path = WEIGHTS) -> Self:
        """Load the weights that come with the package.

        Args:
            folder: Holds ``model.safetensors`` and ``model.json``.

        Raises:
            ArtifactError: If a file is missing or does not have the content that its card declares.
        """
        network = SceneNetwork()
        problem = None
        try:
            card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            weights = (folder / "model.safetensors").read_bytes()
            if hashlib.sha256(weights).hexdigest() != card["sha256"]:
                problem = "The local vision model's weights differ from their card; reinstall the package."
            else:
                tensors = {name: tensor.float() for name, tensor in load_tensors(weights).items()}
                network.load_state_dict(tensors)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError):
            problem = "The local vision model's weights can't be read; reinstall the package."
        if problem is not None:
            raise ArtifactError(problem)
        network.eval()
        network.fold()
        return cls(network.to(memory_format=torch.channels_last))  # the layout of `to_tensor`; a fifth faster

    def log_probabilities(
        self, images: Tensor, attributes: Sequence[str] = tuple(CHOICES)
    ) -> dict[str, Tensor]:
        """Return what the model believes.

        Args:
            images: ``[B, 3, 64, 64]`` in [0, 1].
            attributes: Keys of :data:`CHOICES`.

        Returns:
            Attribute -> natural log-probabilities in the order of its choices, ``[B, number of choices]``.
        """
        with torch.inference_mode():
            logits = self.network(images, attributes)
            return {name: values.log_softmax(1) for name, values in logits.items()}

    def answer(self, image: Image.Image, question: str) -> Reply:
        """Answer one question about one picture.

        Args:
            image: Any mode and size; it is seen as RGB at 64 x 64.
            question: English, about one attribute; or a numbered list of such questions, which gets a line for each.
        """
        if listed := numbered(question):
            lines = [
                f"{number}. {self.answer(image, each).text}" for number, each in enumerate(listed, start=1)
            ]
            return Reply("\n".join(lines), None, {})
        attribute = route(question)
        if attribute is None:
            return Reply(UNKNOWN, None, {})
        values = self.log_probabilities(to_tensor(image)[None], (attribute,))[attribute][0].tolist()
        believed = dict(zip(CHOICES[attribute], values, strict=True))
        return Reply(max(believed, key=believed.__getitem__), attribute, believed)


def to_tensor(image: Image.Image) -> Tensor:
    """Return a picture as the network sees it, ``[3, 64, 64]`` in [0, 1]."""
    if image.mode != "RGB":
        image = image.convert("RGB")
    if image.size != (SCENE_SIZE, SCENE_SIZE):
        image = image.resize((SCENE_SIZE, SCENE_SIZE), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
