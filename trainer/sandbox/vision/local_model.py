"""Local vision models: small networks that answer questions about drawn pictures of one subject.

A local vision model stands in for a provider's model in the sandbox: a convolutional network with one head per
attribute, behind :func:`trainer.sandbox.vision.questions.route`. It is no language model and knows nothing outside its
subject. This module has the subject of the drawn scenes; :mod:`trainer.sandbox.vision.card_model` that of staff cards.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeGuard

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
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from trainer.sandbox.vision.questions import Patterns

WEIGHTS: Final = Path(__file__).with_name("scene_weights")
"""Holds ``model.safetensors`` and its card ``model.json``."""

SCENE_CHOICES: Final[Mapping[str, tuple[str, ...]]] = dict(PRIVATE_ATTRIBUTES) | {
    name: task.choices for name, task in TASKS.items()
}
"""Attribute of the scenes, private or task -> the words that may answer a question about it."""

UNKNOWN: Final = "I don't know."
"""Answer to a question that is not about an attribute of the subject."""


class Reply(NamedTuple):
    """An answer of a local vision model."""

    text: str
    """One of the attribute's choices, :data:`UNKNOWN`, or a line for each question of a numbered list."""
    attribute: str | None
    """Attribute that the question asks about; ``None`` if it was not understood, or asks about several."""
    log_probabilities: Mapping[str, float]
    """Choice -> natural logarithm of its probability; empty without an attribute, or in a refusal."""

    @classmethod
    def of(cls, attribute: str, choices: Sequence[str], log_probabilities: Tensor) -> Self:
        """Name the likeliest choice.

        Args:
            attribute: Attribute that the question asks about.
            choices: Its choices.
            log_probabilities: Natural logarithm of the probability of each, shape ``[number of choices]``.
        """
        believed = dict(zip(choices, log_probabilities.tolist(), strict=True))
        return cls(max(believed, key=believed.__getitem__), attribute, believed)

    @classmethod
    def to_list(cls, replies: Iterable[Reply]) -> Self:
        """Put the replies to the questions of a numbered list into one, a line for each."""
        lines = (f"{number}. {reply.text}" for number, reply in enumerate(replies, start=1))
        return cls("\n".join(lines), None, {})


class Block(nn.Module):
    """A 3 x 3 convolution with batch normalisation and rectifier."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
        self.norm: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(outputs)

    def forward(self, cells: Tensor) -> Tensor:
        """Map cells ``[B, C, H, W]`` to as many cells, or a quarter as many with stride 2."""
        return torch.relu(self.norm(self.convolution(cells)))

    def fold(self) -> None:
        """Fold the batch norm into the convolution; for inference only."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.convolution = fuse_conv_bn_eval(self.convolution, self.norm)
            self.norm = nn.Identity()


class AttributeNetwork(nn.Module):
    """Base of the networks behind local vision models: maps a picture to logits for each attribute."""

    def attend(
        self, images: Tensor, attributes: Sequence[str]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the logits of attributes, and the attention maps that they were read with.

        Args:
            images: ``[B, 3, H, W]`` in [0, 1], of the subject's size.
            attributes: Keys of the subject's choices.

        Returns:
            Attribute -> logits, ``[B, number of choices]``; and attribute -> attention maps, ``[B, maps, h, w]``, each
            of sum 1, for those attributes that have maps of their own.
        """
        raise NotImplementedError

    def forward(self, images: Tensor, attributes: Sequence[str]) -> dict[str, Tensor]:
        """Return the logits of attributes; see :meth:`attend`."""
        return self.attend(images, attributes)[0]

    def fold(self) -> None:
        """Fold each batch norm into its convolution; for inference only."""
        for module in self.modules():
            if isinstance(module, Block):
                module.fold()


class SceneReader(AttributeNetwork):
    """Base of the networks for scenes: ends with four attention maps over cells, and a linear head per attribute.

    The attention maps are shared because colours are learned first; the maps then show the digits' heads where to look.

    Args:
        channels: Channels of the cells.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(channels, 4, kernel_size=1)
        self.norm = nn.LayerNorm(channels * 6)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(channels * 6, len(choices)) for name, choices in SCENE_CHOICES.items()}
        )

    def read(self, cells: Tensor, attributes: Sequence[str]) -> dict[str, Tensor]:
        """Map cells, ``[B, C, h, w]``, to logits of attributes."""
        flat = cells.flatten(2)  # [B, C, cells]
        look = self.look(cells).flatten(2).softmax(2)  # [B, 4, cells]
        seen = torch.bmm(look, flat.transpose(1, 2)).flatten(1)  # [B, 4 * C]
        summary = self.norm(torch.cat([seen, flat.mean(2), flat.amax(2)], dim=1))
        return {name: self.heads[name](summary) for name in attributes}


class SceneNetwork(SceneReader):
    """Network for scenes: convolutions down to 8 x 8 cells."""

    def __init__(self) -> None:
        super().__init__(128)
        widths = ((3, 24, 2), (24, 48, 2), (48, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1))
        self.blocks = nn.ModuleList(Block(*width) for width in widths)

    def attend(
        self, images: Tensor, attributes: Sequence[str]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the logits of attributes; no attribute has maps of its own."""
        cells = images - 0.5
        for block in self.blocks:
            cells = block(cells)
        return self.read(cells, attributes), {}


@dataclass(frozen=True)
class Subject:
    """A kind of pictures, and the local vision model that answers questions about them."""

    name: str
    """Name of the model on the server."""
    choices: Mapping[str, tuple[str, ...]]
    """Attribute -> the words that may answer a question about it."""
    patterns: Patterns
    """Words by which questions about each attribute are recognised."""
    size: tuple[int, int]
    """Width and height to which pictures are scaled, pixels."""
    network: Callable[[], AttributeNetwork]
    """Builds an untrained network."""
    weights: Path
    """Holds ``model.safetensors`` and its card ``model.json``."""
    frames: int = 1
    """Pictures that the model looks at together, as a strip in their order; ``size`` is that of the strip."""


SCENES: Final = Subject(
    "sandbox", SCENE_CHOICES, questions.SCENE_PATTERNS, (SCENE_SIZE, SCENE_SIZE), SceneNetwork, WEIGHTS
)
"""The drawn scenes of :mod:`trainer.sandbox.drawing.scenes`."""


class LocalVisionModel:
    """Answers free-text questions about a picture.

    Args:
        network: Trained network in evaluation mode.
        subject: Subject that it was trained on.

    Attributes:
        network: The network; gradients pass through it, though not through :meth:`log_probabilities`.
        subject: The subject.
    """

    def __init__(self, network: AttributeNetwork, subject: Subject = SCENES) -> None:
        self.network = network
        self.subject = subject

    @property
    def name(self) -> str:
        """Name of the model on the server."""
        return self.subject.name

    @classmethod
    def load(cls, folder: Path | None = None, *, subject: Subject = SCENES) -> Self:
        """Load trained weights.

        Args:
            folder: Holds ``model.safetensors`` and ``model.json``; by default the weights that come with the package.
            subject: Subject that the weights were trained on.

        Raises:
            ArtifactError: If a file is missing or its content differs from what its card declares.
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
        # The layout of `to_tensor`, a fifth faster.
        return cls(network.to(memory_format=torch.channels_last), subject)

    def log_probabilities(self, images: Tensor, attributes: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return the model's log-probabilities.

        Args:
            images: ``[B, 3, H, W]`` in [0, 1], of the subject's size; see :func:`to_tensor`.
            attributes: Keys of the subject's choices; all if not given.

        Returns:
            Attribute -> natural log-probabilities in the order of its choices, ``[B, number of choices]``.
        """
        with torch.inference_mode():
            logits = self.network(images, tuple(self.subject.choices) if attributes is None else attributes)
            return {name: values.log_softmax(1) for name, values in logits.items()}

    def route(self, question: str) -> str | None:
        """Return the attribute that a question asks about; ``None`` if it is not understood."""
        return questions.route(question, self.subject.patterns)

    def answer(self, image: Image.Image, question: str) -> Reply:
        """Answer one question about one picture.

        Args:
            image: Picture of any mode and size; it is converted to RGB and scaled to the subject's size.
            question: English, about one attribute; or a numbered list of such questions, which gets a line for each.
        """
        if listed := numbered(question):
            return Reply.to_list(self.answer(image, each) for each in listed)
        attribute = self.route(question)
        if attribute is None:
            return Reply(UNKNOWN, None, {})
        return self.reply(to_tensor(image, self.subject.size)[None], attribute, question)

    def reply(self, seen: Tensor, attribute: str, question: str) -> Reply:  # noqa: ARG002  for models with habits
        """Answer a question that was understood.

        Args:
            seen: The picture, ``[1, 3, H, W]`` in [0, 1], of the subject's size.
            attribute: Attribute that the question asks about.
            question: The question as it was put.
        """
        believed = self.log_probabilities(seen, (attribute,))[attribute][0]
        return Reply.of(attribute, self.subject.choices[attribute], believed)


def looks_at_clips(model: object) -> TypeGuard[LocalVisionModel]:
    """Say whether a model looks at all pictures of a message, as the frames of a clip; others look at the last one."""
    return isinstance(model, LocalVisionModel) and model.subject.frames > 1


def strip(frames: Sequence[Image.Image], subject: Subject) -> Image.Image:
    """Put the frames of a clip below each other, as a model that looks at several takes them.

    Args:
        frames: At least one picture. More than the model takes are left out evenly; the last of too few is repeated.
        subject: Subject of the model.
    """
    width, height = subject.size[0], subject.size[1] // subject.frames
    step = max(1.0, len(frames) / subject.frames)
    result = Image.new("RGB", subject.size)
    for place in range(subject.frames):
        frame = frames[min(int(place * step), len(frames) - 1)].convert("RGB")
        result.paste(frame.resize((width, height), Image.Resampling.BILINEAR), (0, place * height))
    return result


def to_tensor(image: Image.Image, size: tuple[int, int] = SCENES.size) -> Tensor:
    """Convert a picture for a network: RGB scaled to ``size`` (width, height), as ``[3, H, W]`` in [0, 1]."""
    if image.mode != "RGB":
        image = image.convert("RGB")
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
