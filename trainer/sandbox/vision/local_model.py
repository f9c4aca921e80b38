"""A small local vision model that answers questions about drawn pictures of one subject.

It stands in for a provider's model in the sandbox: a convolutional network with one head for each attribute,
behind :func:`trainer.sandbox.vision.questions.route`. It is no language model and knows nothing outside its subject: the
scenes, here, or the staff cards of :mod:`trainer.sandbox.vision.card_model`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
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
from trainer.sandbox.drawing.scenes import PRIVATE_ATTRIBUTES, SCENE_SIZE, TASKS
from trainer.sandbox.vision import questions
from trainer.sandbox.vision.questions import numbered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainer.sandbox.vision.questions import Patterns

WEIGHTS: Final = Path(__file__).with_name("scene_weights")
"""Holds ``model.safetensors`` and its card ``model.json``."""

CHOICES: Final[Mapping[str, tuple[str, ...]]] = dict(PRIVATE_ATTRIBUTES) | {
    name: task.choices for name, task in TASKS.items()
}
"""Attribute of the scenes, private or task -> the words that the model can say about it."""

UNKNOWN: Final = "I don't know."
"""What the model says to a question that is not about an attribute of its subject."""


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


class Block(nn.Module):
    """A 3 x 3 convolution, batch norm and rectifier."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
        self.norm: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(outputs)

    def forward(self, cells: Tensor) -> Tensor:
        """Map ``[B, C, H, W]`` to as many cells, or a quarter as many with stride 2."""
        return torch.relu(self.norm(self.convolution(cells)))

    def fold(self) -> None:
        """Fold the batch norm into the convolution; for inference only."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.convolution = fuse_conv_bn_eval(self.convolution, self.norm)
            self.norm = nn.Identity()


class AttributeNetwork(nn.Module):
    """What any local vision model has behind its questions: a picture in, logits for each attribute out."""

    def attend(
        self, images: Tensor, attributes: Sequence[str]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the logits of the attributes asked for, and where the network looked for them.

        Args:
            images: ``[B, 3, H, W]`` in [0, 1], of the subject's size.
            attributes: Keys of the subject's choices.

        Returns:
            Attribute -> logits, ``[B, number of choices]``; and attribute -> maps of attention, ``[B, maps, h, w]``,
            each of sum 1, for those attributes that have maps of their own.
        """
        raise NotImplementedError

    def forward(self, images: Tensor, attributes: Sequence[str]) -> dict[str, Tensor]:
        """Return the logits alone; see :meth:`attend`."""
        return self.attend(images, attributes)[0]

    def fold(self) -> None:
        """Fold each batch norm into its convolution; for inference only."""
        for module in self.modules():
            if isinstance(module, Block):
                module.fold()


class SceneReader(AttributeNetwork):
    """What a network for scenes ends with: four attention maps over its cells, and a linear head for each attribute.

    The attention maps are shared because colours are learned first: they then show the digits' heads where to
    look. A hidden layer in the heads kept the digits from being learned at all.

    Args:
        channels: Of the cells.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(channels, 4, kernel_size=1)
        self.norm = nn.LayerNorm(channels * 6)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(channels * 6, len(choices)) for name, choices in CHOICES.items()}
        )

    def read(self, cells: Tensor, attributes: Sequence[str]) -> dict[str, Tensor]:
        """Return logits from cells, ``[B, C, h, w]``."""
        flat = cells.flatten(2)  # [B, C, cells]
        look = self.look(cells).flatten(2).softmax(2)  # [B, 4, cells]
        seen = torch.bmm(look, flat.transpose(1, 2)).flatten(1)  # [B, 4 * C]
        summary = self.norm(torch.cat([seen, flat.mean(2), flat.amax(2)], dim=1))
        return {name: self.heads[name](summary) for name in attributes}


class SceneNetwork(SceneReader):
    """Convolutions down to 8 x 8 cells."""

    def __init__(self) -> None:
        super().__init__(128)
        widths = ((3, 24, 2), (24, 48, 2), (48, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1))
        self.blocks = nn.ModuleList(Block(*width) for width in widths)

    def attend(
        self, images: Tensor, attributes: Sequence[str]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """See the base class; no attribute has maps of its own."""
        cells = images - 0.5
        for block in self.blocks:
            cells = block(cells)
        return self.read(cells, attributes), {}


@dataclass(frozen=True)
class Subject:
    """What a local vision model knows about."""

    name: str
    """Under which the server offers it."""
    choices: Mapping[str, tuple[str, ...]]
    """Attribute -> the words that the model can say about it."""
    patterns: Patterns
    """Which questions ask for which attribute."""
    size: tuple[int, int]
    """Width and height at which pictures are seen."""
    network: Callable[[], AttributeNetwork]
    """Builds an untrained network."""
    weights: Path
    """Holds ``model.safetensors`` and its card ``model.json``."""


SCENES: Final = Subject("sandbox", CHOICES, questions.SCENES, (SCENE_SIZE, SCENE_SIZE), SceneNetwork, WEIGHTS)
"""The drawn scenes of :mod:`trainer.sandbox.drawing.scenes`."""


class LocalVisionModel:
    """Answers free-text questions about a picture.

    Args:
        network: In evaluation mode.
        subject: What it was trained on.

    Attributes:
        network: The same; gradients pass through it, as they do not through :meth:`log_probabilities`.
        subject: The same.
    """

    def __init__(self, network: AttributeNetwork, subject: Subject = SCENES) -> None:
        self.network = network
        self.subject = subject

    @classmethod
    def load(cls, folder: Path | None = None, *, subject: Subject = SCENES) -> Self:
        """Load trained weights.

        Args:
            folder: Holds ``model.safetensors`` and ``model.json``; by default those that come with the package.
            subject: What they were trained on.

        Raises:
            ArtifactError: If a file is missing or does not have the content that its card declares.
        """
        folder = subject.weights if folder is None else folder
        network = subject.network()
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
        return cls(
            network.to(memory_format=torch.channels_last), subject
        )  # the layout of `to_tensor`; a fifth faster

    def log_probabilities(self, images: Tensor, attributes: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return what the model believes.

        Args:
            images: ``[B, 3, H, W]`` in [0, 1], of the subject's size; see :func:`to_tensor`.
            attributes: Keys of the subject's choices; by default all.

        Returns:
            Attribute -> natural log-probabilities in the order of its choices, ``[B, number of choices]``.
        """
        with torch.inference_mode():
            logits = self.network(images, tuple(self.subject.choices) if attributes is None else attributes)
            return {name: values.log_softmax(1) for name, values in logits.items()}

    def route(self, question: str) -> str | None:
        """Return the attribute that a question asks about; None if it is not understood."""
        return questions.route(question, self.subject.patterns)

    def answer(self, image: Image.Image, question: str) -> Reply:
        """Answer one question about one picture.

        Args:
            image: Any mode and size; it is seen as RGB at the subject's size.
            question: English, about one attribute; or a numbered list of such questions, which gets a line for each.
        """
        if listed := numbered(question):
            lines = [
                f"{number}. {self.answer(image, each).text}" for number, each in enumerate(listed, start=1)
            ]
            return Reply("\n".join(lines), None, {})
        attribute = self.route(question)
        if attribute is None:
            return Reply(UNKNOWN, None, {})
        seen = to_tensor(image, self.subject.size)[None]
        values = self.log_probabilities(seen, (attribute,))[attribute][0].tolist()
        believed = dict(zip(self.subject.choices[attribute], values, strict=True))
        return Reply(max(believed, key=believed.__getitem__), attribute, believed)


def to_tensor(image: Image.Image, size: tuple[int, int] = SCENES.size) -> Tensor:
    """Return a picture as a network sees it, ``[3, H, W]`` in [0, 1], for a size of ``(W, H)``."""
    if image.mode != "RGB":
        image = image.convert("RGB")
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
