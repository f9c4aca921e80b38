"""Fresh classifiers of the private attributes that adapt to the protection, and the strongest reading of several."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from trainer.attackers.backbones import Backbone, BackboneClassifier
from trainer.attackers.frames import VIEWED, FrameView, looked_at, surest
from trainer.attackers.layers import convolution
from trainer.runtime.cancellation import while_wanted
from trainer.runtime.optim import OneCycle, ShuffledBatches, fit, update_batch_norm
from trainer.runtime.precision import Precision, cpu_precision
from trainer.runtime.rng import reproducible_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Architecture = Literal["small"] | Backbone

OVERVIEW_SIDE: Final = 160
"""Longest side, in pixels, at which the small architecture takes in a face that is a quarter of the picture."""
_BATCH = 32
_READ_BATCH = 64
_RATES: Final[Mapping[Architecture, tuple[float, float]]] = {
    "small": (4e-3, 3e-3),
    "resnet10": (2e-3, 1e-3),
    "resnet18": (2e-3, 1e-3),
    "mobilenet_v3_small": (4e-3, 3e-3),
}
"""Peak learning rate of new weights, and of weights that adapt."""
_PRECISIONS: Final[Mapping[Architecture, Precision]] = {"mobilenet_v3_small": "float32"}
"""``auto`` for the others. Convolutions of single channels take twice as long in bfloat16, half as long elsewhere."""
_GROWTH: Final = (0.5, 0.75, 1.0)
"""Scales, one after the other, at which new weights learn if images are scaled at all: progressive resizing (Howard,
2018), for two thirds of the time.
"""
_LEAST_SIDE: Final = 64
"""Longest side, in pixels, below which torchvision's networks have nothing left to look at."""
_GIVEN_RATE: Final = 3e-4
"""Peak learning rate of a network that had learned before, which may have no batch normalisation."""


class AttackImages(NamedTuple):
    """Images as an attacker gets them, with the labels that it knows or is to find out."""

    images: Tensor
    """``uint8`` RGB, shape ``[N, 3, H, W]``, or clips, ``[N, T, 3, H, W]``; ``H`` and ``W`` are multiples of 8."""
    labels: Tensor
    """Class index of each private attribute, shape ``[N, A]``; ``-1`` where it is unknown."""


class AttackData(NamedTuple):
    """Images that an attacker learns from, tunes on and is judged by; all three are protected alike."""

    train: AttackImages
    val: AttackImages
    test: AttackImages


class AttributeClassifier(nn.Module):
    """Small architecture: convolutions at three resolutions, each half of the one before, and a head per attribute.

    Overlapping windows and three stages divided by maximum pooling, the last one residual, each convolution with batch
    normalisation; the heads read both the maximum and the mean over positions. It is not the architecture of training's
    own networks.

    Args:
        classes: Number of classes of each attribute.
        cell: Distance in pixels between the windows of the first convolution, which are 4 pixels wider: with 2,
            convolutions go down to an eighth of the resolution; with 4 to a sixteenth, at a quarter of the cost; with 8
            to a thirty-second.
    """

    def __init__(self, classes: tuple[int, ...], *, cell: int = 2) -> None:
        super().__init__()
        self.classes = classes
        self.stem = nn.Sequential(
            *convolution(3, 32, pool=2, window=cell + 4, stride=cell),
            *convolution(32, 64, pool=2),
            *convolution(64, 128),
        )
        self.residual = nn.Sequential(*convolution(128, 128))
        self.heads = nn.Linear(256, sum(classes))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Classify images.

        Args:
            images: In [0, 1], shape ``[B, 3, H, W]``.

        Returns:
            Logits of each attribute, ``[B, K_a]``.
        """
        cells = self.stem(images - 0.5)
        cells = cells + self.residual(cells)
        pooled = torch.cat([cells.amax(dim=(2, 3)), cells.mean(dim=(2, 3))], dim=1)
        logits: tuple[Tensor, ...] = self.heads(pooled).float().split(self.classes, dim=1)
        return logits


class Scores(NamedTuple):
    """Probabilities that an attacker gives to the classes of each attribute.

    The last dimension has the size of the attribute with the most classes; a class that an attribute lacks has
    probability 0.
    """

    val: Tensor
    """Shape ``[N, A, K]``."""
    test: Tensor
    """Shape ``[N, A, K]``."""

    @property
    def predictions(self) -> Tensor:
        """Classes read from the test images, shape ``[N, A]``."""
        return self.test.argmax(dim=2)


class Attacker(Protocol):
    """Reads private attributes. It is prepared once, and a copy of it attacks each engine."""

    name: str

    @property
    def description(self) -> str:
        """Training of the attacker, in words, for a report."""
        ...

    def prepare(self, originals: AttackData, *, generator: torch.Generator) -> Scores:
        """Learn from originals, forgetting everything before, and read them."""
        ...

    def attack(self, protected: AttackData, *, generator: torch.Generator) -> Scores:
        """Adapt to protected images and read them."""
        ...

    def read(self, images: Tensor) -> Tensor:
        """Read images or clips, ``uint8``, without adapting to them; scores ``[N, A, K]``."""
        ...


class FreshClassifier:
    """Attacker that learns the private attributes from originals, then adapts to one protection after the other.

    Copy a prepared attacker for each engine and let it attack from the weakest level to the strongest, each time from
    where it stands: on strong protection that reads more than starting from originals each time. More images help more
    than more epochs.

    For every attribute, the reported reading is that of the network before it adapted or after, whichever reads the
    validation images better.

    Of clips, it reads every frame and averages what the network makes of them, in learning too, unless it looks in
    another way.

    Args:
        attributes: Private attributes and their classes.
        architecture: ``small`` is :class:`AttributeClassifier`; the other names are torchvision's networks. Or a
            network that reads the attributes from originals already, such as the provider's own model: maps images
            ``[B, 3, H, W]`` in [0, 1] to logits ``[B, K_a]`` of each attribute. It is copied, and not trained on
            originals any more.
        weights: State dict of a torchvision network, to begin with instead of random weights; see
            :func:`~trainer.attackers.backbones.read_weights`.
        start: ``protected`` trains new weights on the protected images alone at each operating point, for as long as
            on originals otherwise. A network that knows originals may be stuck with what it looks for there.
        warm_epochs: Passes over the images that new weights see.
        epochs: Passes over the protected images in each attack that continues from where the network stands.
        shift: Furthest that training images are moved to either side, in pixels as the network sees them; each batch
            by an amount of its own. It keeps a network that sees the same images many times from memorising them.
        side: Longest side, in pixels, to which images are scaled before the network; not scaled if not given.
            Torchvision's networks divide the resolution by 32 and need 64 or more. The small one sees patterns of
            single pixels in images that are not scaled, and a face in the whole picture at :data:`OVERVIEW_SIDE`.
        frames: Way to look at clips; see :data:`~trainer.attackers.frames.FrameView`.

    Raises:
        ValueError: If ``weights`` are given for the small architecture or a network, or ``start`` is ``protected`` for
            a network that has learned already.
    """

    def __init__(
        self,
        attributes: Mapping[str, tuple[str, ...]],
        *,
        architecture: Architecture | nn.Module = "small",
        weights: Mapping[str, Tensor] | None = None,
        start: Literal["originals", "protected"] = "originals",
        warm_epochs: int = 6,
        epochs: int = 3,
        shift: int = 0,
        side: int | None = None,
        frames: FrameView = "all",
    ) -> None:
        self._given = architecture if isinstance(architecture, nn.Module) else None
        self._architecture: Architecture = "small" if isinstance(architecture, nn.Module) else architecture
        if self._given is not None and (weights is not None or start == "protected"):
            raise ValueError(
                "a network that has learned already takes no weights and starts from what it knows"
            )
        if weights is not None and self._architecture == "small":
            raise ValueError("weights are for torchvision's architectures")
        self._classes = tuple(len(classes) for classes in attributes.values())
        self._weights, self._start = weights, start
        self._precision: Precision = (
            "auto" if self._given is not None else _PRECISIONS.get(self._architecture, "auto")
        )
        self._warm_epochs, self._epochs, self._shift, self._side = warm_epochs, epochs, shift, side
        self._frames = frames
        self._network: nn.Module | None = None
        self._new: nn.Module | None = None
        """Untrained; drawn once, because attacks run in threads and layers use torch's global generator."""
        self.name = self._named()

    def _named(self) -> str:
        if self._given is not None:
            return "network that had learned before"
        small = self._architecture == "small"
        name = "fresh classifier" if small else f"fresh {self._architecture}"
        if small and self._side is not None:
            name += f" at {self._side} px"
        name += VIEWED[self._frames][0]
        return name + (", protected images only" if self._start == "protected" else "")

    @property
    def description(self) -> str:
        """Training of the attacker, in words, for a report."""
        if self._given is not None:
            return (
                f"a network that reads originals already: {_passes(self._epochs)} on protected training images for "
                "each operating point, from the weakest level of an engine to its strongest; the better of before and "
                "after on the validation split"
            )
        network: str = "convolutional classifier" if self._architecture == "small" else self._architecture
        if self._weights is not None:
            network += " with given weights"
        if self._side is not None:
            network += f" at {self._side} px"
        network += VIEWED[self._frames][1]
        if self._shift:
            network += f", moved by up to {self._shift} px"
        if self._start == "protected":
            return (
                f"fresh {network}: {_passes(self._warm_epochs)} on protected training images alone, anew for each "
                "operating point"
            )
        return (
            f"fresh {network}: {_passes(self._warm_epochs)} on originals, then {self._epochs} on "
            "protected training images for each operating point, from the weakest level of an engine to its "
            "strongest; the better of before and after on the validation split"
        )

    def prepare(self, originals: AttackData, *, generator: torch.Generator) -> Scores:
        """Learn from originals, forgetting everything before, and read them.

        Raises:
            TrainingError: If the weights belong to another network.
        """
        with reproducible_layers(generator):
            new = self._draw(max(originals.train.images.shape[-2:]))
        self._new = new.to(memory_format=torch.channels_last)
        self._network = copy.deepcopy(self._new)
        if self._given is None:
            self._fit_new(originals.train, generator)
        return self._scores(originals)

    def attack(self, protected: AttackData, *, generator: torch.Generator) -> Scores:
        """Adapt to protected images and read them.

        Raises:
            ValueError: If :meth:`prepare` was not called.
        """
        if self._start == "protected":
            self._prepared()
            self._network = copy.deepcopy(self._new)
            self._fit_new(protected.train, generator)
            return self._scores(protected)
        before = self._scores(protected)
        rate = _GIVEN_RATE if self._given is not None else _RATES[self._architecture][1]
        self._fit(protected.train, self._epochs, rate, generator)
        return combine((self._scores(protected), before), protected.val.labels)[0]

    @torch.no_grad()
    def read(self, images: Tensor) -> Tensor:
        """Read images with the network as it stands.

        Args:
            images: ``uint8``, shape ``[N, 3, H, W]``, or clips, ``[N, T, 3, H, W]``.

        Returns:
            Probabilities of the classes, shape ``[N, A, K]``; see :class:`Scores`.

        Raises:
            ValueError: If :meth:`prepare` was not called.
        """
        self._prepared().eval()
        with cpu_precision(self._precision):
            return _probabilities(lambda part: self._logits(self._scaled(part)), images)

    def _scores(self, data: AttackData) -> Scores:
        return Scores(self.read(data.val.images), self.read(data.test.images))

    def _draw(self, longest: int) -> nn.Module:
        """Return the untrained network for images whose longest side is ``longest`` pixels."""
        if self._given is not None:
            return copy.deepcopy(self._given)
        if self._architecture == "small":
            return AttributeClassifier(self._classes, cell=_cell(self._side or longest))
        return BackboneClassifier(self._architecture, self._classes, weights=self._weights)

    def _fit_new(self, train: AttackImages, generator: torch.Generator) -> None:
        growth = _GROWTH if self._side is not None else (1.0,)
        self._fit(train, self._warm_epochs, _RATES[self._architecture][0], generator, growth=growth)

    def _fit(
        self,
        train: AttackImages,
        epochs: int,
        learning_rate: float,
        generator: torch.Generator,
        *,
        growth: Sequence[float] = (1.0,),
    ) -> None:
        """Learn from images at the network's own resolution, and before that at fractions of it."""
        network, seen = self._prepared().train(), self._scaled(train.images, learning=True)
        batches = ShuffledBatches(len(seen), _BATCH, epochs=epochs, generator=generator)
        descent = OneCycle(network.parameters(), steps=len(batches), learning_rate=learning_rate, fused=True)
        longest = max(seen.shape[-2:])

        def loss(rows: Tensor) -> Tensor:
            side = max(_LEAST_SIDE, longest * growth[descent.done * len(growth) // len(batches)])
            images = _moved(_resized(seen[rows], min(side, longest)), self._shift, generator)
            losses = [
                nn.functional.cross_entropy(each, column, ignore_index=-1, reduction="sum")
                for each, column in zip(self._logits(images), train.labels[rows].T, strict=True)
            ]
            return torch.stack(losses).sum() / len(rows)

        with cpu_precision(self._precision):
            fit(descent, loss, batches)
            order = torch.randperm(len(seen), generator=generator)
            update_batch_norm(network, _as_frames(seen[order]), _as_input)

    def _logits(self, images: Tensor) -> tuple[Tensor, ...]:
        """Read images; of clips, the mean over the frames, or the frame that is read most surely."""
        logits: tuple[Tensor, ...] = self._prepared()(_as_input(_as_frames(images)))
        if images.ndim == 4:
            return logits
        of_frames = [each.reshape(*images.shape[:2], -1) for each in logits]
        return tuple(surest(each) if self._frames == "weakest" else each.mean(dim=1) for each in of_frames)

    def _scaled(self, images: Tensor, *, learning: bool = False) -> Tensor:
        """Take what the network sees of clips, ``uint8``, and scale it to the resolution at which it looks."""
        images = looked_at(images, self._frames, learning=learning)
        return images if self._side is None else _resized(images, self._side)

    def _prepared(self) -> nn.Module:
        if self._network is None:
            raise ValueError("the attacker must see originals first: call prepare()")
        return self._network


class FixedClassifier:
    """Attacker that reads with a given network as it stands, such as training's own assessor.

    No attacker that adapts should read less than it does.

    Args:
        network: Maps images ``[B, 3, H, W]`` in [0, 1] to logits ``[B, K_a]`` of each attribute.
        name: Name of the attacker in a report.
    """

    def __init__(self, network: nn.Module, name: str) -> None:
        self._network, self.name = network.eval(), name
        self.description = f"{name}, as it stands"

    def prepare(self, originals: AttackData, *, generator: torch.Generator) -> Scores:  # noqa: ARG002  draws nothing
        """Read originals."""
        return Scores(self.read(originals.val.images), self.read(originals.test.images))

    def attack(self, protected: AttackData, *, generator: torch.Generator) -> Scores:
        """Read protected images without adapting to them."""
        return self.prepare(protected, generator=generator)

    @cpu_precision()
    @torch.no_grad()
    def read(self, images: Tensor) -> Tensor:
        """Read images, ``uint8`` of shape ``[N, 3, H, W]``; scores ``[N, A, K]``."""
        return _probabilities(lambda part: self._network(part.float() / 255), images)


def _cell(longest: int) -> int:
    """Return the cell for images of a size; with cells of 2, large images take most of an evaluation's time."""
    if longest <= OVERVIEW_SIDE:
        return 2
    return 4 if longest < 2 * OVERVIEW_SIDE else 8


def _passes(epochs: int) -> str:
    return "1 epoch" if epochs == 1 else f"{epochs} epochs"


def _as_frames(images: Tensor) -> Tensor:
    """Return images as they are, and clips ``[N, T, 3, H, W]`` as their frames one after the other."""
    return images if images.ndim == 4 else images.flatten(0, 1)


def _as_input(images: Tensor) -> Tensor:
    return images.to(memory_format=torch.channels_last).float().div_(255)


def _resized(images: Tensor, longest: float) -> Tensor:
    """Scale images, ``uint8``, so that their longest side is about ``longest``, and both sides multiples of 8."""
    factor = longest / max(images.shape[-2:])
    size = [max(8, round(length * factor / 8) * 8) for length in images.shape[-2:]]
    if size == list(images.shape[-2:]):
        return images
    scaled = nn.functional.interpolate(_as_frames(images), size, mode="bilinear", antialias=True)
    return scaled.reshape(*images.shape[:-2], *size)


def _moved(images: Tensor, furthest: int, generator: torch.Generator) -> Tensor:
    """Move all images of a batch alike, by up to ``furthest`` pixels each way; their edges are repeated."""
    if not furthest:
        return images
    height, width = images.shape[-2:]
    down, right = torch.randint(-furthest, furthest + 1, (2,), generator=generator).tolist()
    rows = (torch.arange(height) - down).clamp(0, height - 1)
    columns = (torch.arange(width) - right).clamp(0, width - 1)
    return images[..., rows, :][..., columns]


def _probabilities(logits: Callable[[Tensor], tuple[Tensor, ...]], images: Tensor) -> Tensor:
    """Return probabilities of the classes, ``[N, A, K]``; see :class:`Scores`."""
    parts = []
    for part in while_wanted(torch.split(images, _READ_BATCH)):
        each = [values.softmax(dim=1) for values in logits(part)]
        widest = max(values.shape[1] for values in each)
        parts.append(torch.stack([nn.functional.pad(p, (0, widest - p.shape[1])) for p in each], dim=1))
    return torch.cat(parts)


def combine(candidates: Sequence[Scores], labels: Tensor) -> tuple[Scores, Tensor]:
    """Take each attribute from the candidate that reads the validation images best.

    The best candidate reads most of them right; among equals, it gives the true classes more probability.

    Args:
        candidates: At least one.
        labels: Classes of the validation images, shape ``[N, A]``, ``-1`` where unknown.

    Returns:
        The combined scores, and the candidate that each attribute was taken from, shape ``[A]``.
    """
    merits = []
    for scores in candidates:
        known = labels >= 0
        right = ((scores.val.argmax(dim=2) == labels) & known).sum(dim=0)
        truth = scores.val.gather(2, labels.clamp(min=0)[..., None]).squeeze(2).double()
        probability = (truth * known).sum(dim=0) / known.sum(dim=0).clamp(min=1)
        merits.append(right + probability / 2)  # below 1, so that it decides between equals alone
    choice = torch.stack(merits).argmax(dim=0)
    val, test = (torch.stack(parts) for parts in zip(*candidates, strict=True))
    return Scores(_by_attribute(val, choice), _by_attribute(test, choice)), choice


def _by_attribute(scores: Tensor, choice: Tensor) -> Tensor:
    """Take each attribute from one candidate: from ``[C, N, A, K]`` to ``[N, A, K]``."""
    return scores[choice, :, torch.arange(len(choice))].transpose(0, 1)
