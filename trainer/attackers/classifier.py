"""Fresh classifiers of the private attributes that adapt to the protection, and the strongest reading of several."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from trainer.attackers.backbones import Backbone, BackboneClassifier
from trainer.attackers.layers import convolution, update_bn
from trainer.runtime.cancellation import while_wanted
from trainer.runtime.precision import Precision, cpu_precision
from trainer.runtime.rng import reproducible_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Architecture = Literal["small"] | Backbone

OVERVIEW_SIDE: Final = 160
"""Longest side at which the small architecture's convolutions take in a face that is a quarter of the picture.

On staff cards 320 pixels wide, 9,000 of them ten times, it reads gender at 0.81 and race at 0.36; MobileNetV3 at 128,
ten times, at chance.
"""
_BATCH = 32
_READ_BATCH = 64
_RATES: Final[Mapping[Architecture, tuple[float, float]]] = {
    "small": (4e-3, 3e-3),
    "resnet10": (2e-3, 1e-3),
    "resnet18": (2e-3, 1e-3),
    "mobilenet_v3_small": (4e-3, 3e-3),
}
"""Largest learning rate from new weights, and when going on from where the network stands."""
_PRECISIONS: Final[Mapping[Architecture, Precision]] = {"mobilenet_v3_small": "float32"}
"""``auto`` for the others. Convolutions of single channels take twice as long in bfloat16, half as long elsewhere."""
_GROWTH: Final = (0.5, 0.75, 1.0)
"""Scales, one after the other, at which new weights learn if images are scaled at all: progressive resizing (Howard,
2018), for two thirds of the time.
"""
_LEAST_SIDE: Final = 64
"""Below it, torchvision's networks have nothing left to look at."""
_GIVEN_RATE: Final = 3e-4
"""For a network that had learned before, which may have no batch normalisation."""


class AttackImages(NamedTuple):
    """Images as an attacker gets them, with what it knows or is to find out."""

    images: Tensor
    """``uint8`` RGB, shape ``[N, 3, H, W]``; ``H`` and ``W`` are multiples of 8."""
    labels: Tensor
    """Class index of each private attribute, shape ``[N, A]``; ``-1`` where it is unknown."""


class AttackData(NamedTuple):
    """What an attacker learns from, tunes on and is judged by. All three are protected alike."""

    train: AttackImages
    val: AttackImages
    test: AttackImages


class AttributeClassifier(nn.Module):
    """Convolutions at three resolutions, each half of the one before, and a linear head per attribute.

    Overlapping windows and three stages divided by maximum pooling, the last one residual, each convolution with batch
    normalisation; the heads read both the maximum and the mean over positions. Not the architecture of training's own
    networks.

    Args:
        classes: Number of classes of each attribute.
        cell: Distance in pixels between the windows of the first convolution, which are 4 pixels wider: from 2,
            convolutions go down to an eighth of the resolution, from 4 to a sixteenth, at a quarter of the cost, and
            from 8 to a thirty-second.
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

    The last dimension is that of the attribute with the most classes; those that an attribute lacks have probability 0.
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
    """Reads private attributes. It is prepared once and copied for each engine, before it attacks that."""

    name: str

    @property
    def description(self) -> str:
        """How it was trained, for a report."""
        ...

    def prepare(self, originals: AttackData, *, generator: torch.Generator) -> Scores:
        """Learn from originals, forgetting everything before, and read them."""
        ...

    def attack(self, protected: AttackData, *, generator: torch.Generator) -> Scores:
        """Adapt to protected images and read them."""
        ...

    def read(self, images: Tensor) -> Tensor:
        """Read images, ``uint8`` of shape ``[N, 3, H, W]``, without adapting to them; scores ``[N, A, K]``."""
        ...


class FreshClassifier:
    """Learns the private attributes from originals, then adapts to one protection after the other.

    Copy a prepared attacker for each engine and let it attack from the weakest level to the strongest, each time from
    where it stands: on strong mosaics that reads 2 to 4 points more than starting from originals each time.

    Images count for more than epochs. On mosaics of the sandbox's scenes, mean accuracy over the attributes at three
    strengths was 0.97, 0.92, 0.79 after 3 epochs on 2,000 images (0.98, 0.93, 0.80 after 10 from originals; one seed),
    and 0.92, 0.88, 0.76 on 1,000 (0.93, 0.90, 0.76 after 5).

    For every attribute, what is reported is the reading of the network that it started from or of the adapted one,
    whichever reads the validation images better.

    Args:
        attributes: Private attributes and their classes.
        architecture: ``small`` is :class:`AttributeClassifier`; the others are torchvision's.
        weights: State dict of a torchvision architecture, to begin with instead of random weights; see
            :func:`~trainer.attackers.backbones.read_weights`.
        network: One that reads the attributes from originals already, in place of an architecture: maps images
            ``[B, 3, H, W]`` in [0, 1] to logits ``[B, K_a]`` of each attribute. It is copied, and not trained on
            originals any more. The provider has such a network: its own model.
        start: ``protected`` trains new weights on the protected images alone at each operating point, as long as on
            originals otherwise: a network that knows originals may be stuck with what it looks for there.
        warm_epochs: Passes over the images that new weights see.
        epochs: Passes over the protected images in each attack that goes on from where the network stands. With 2, 0.5
            to 2 points less was read of those mosaics.
        shift: Furthest that images are moved to either side, in pixels as the network sees them, while it learns: each
            batch by another step, drawn anew. It keeps a network that sees the same images ten times and more from
            learning them by heart: of 9,000 staff cards, 20 times, it reads race at 0.39 instead of 0.65 if they are
            moved by up to 8 of 160 pixels, and of 730 others at 0.34 instead of 0.32 (level 0.5 of the default,
            one seed).
        side: Longest side, in pixels, to which images are scaled before the network; as they come if not given.
            Torchvision's networks divide the resolution by 32: they need 64 and more. The small one sees patterns of
            single pixels where images come as they are, and a face in the whole picture where they are scaled
            (:data:`OVERVIEW_SIDE`).
        device: Where to compute.

    Raises:
        ValueError: If there are weights for the small architecture, which has none to give.
    """

    def __init__(
        self,
        attributes: Mapping[str, tuple[str, ...]],
        *,
        architecture: Architecture = "small",
        weights: Mapping[str, Tensor] | None = None,
        network: nn.Module | None = None,
        start: Literal["originals", "protected"] = "originals",
        warm_epochs: int = 6,
        epochs: int = 3,
        shift: int = 0,
        side: int | None = None,
        device: str = "cpu",
    ) -> None:
        if weights is not None and architecture == "small":
            raise ValueError("weights are for torchvision's architectures")
        if network is not None and (weights is not None or start == "protected"):
            raise ValueError(
                "a network that has learned already takes no weights and starts from what it knows"
            )
        self._classes = tuple(len(classes) for classes in attributes.values())
        self._architecture, self._weights, self._start = architecture, weights, start
        self._precision: Precision = "auto" if network is not None else _PRECISIONS.get(architecture, "auto")
        self._warm_epochs, self._epochs, self._shift = warm_epochs, epochs, shift
        self._side, self._device, self._given = side, device, network
        self._network: nn.Module | None = None
        self._new: nn.Module | None = None
        """Untrained; drawn once, because attacks run in threads and layers use torch's global generator."""
        self.name = "fresh classifier" if architecture == "small" else f"fresh {architecture}"
        if architecture == "small" and side is not None:
            self.name += f" at {side} px"
        if start == "protected":
            self.name += ", protected images only"
        if network is not None:
            self.name = "network that had learned before"

    @property
    def description(self) -> str:
        """How it was trained, for a report."""
        network: str = "convolutional classifier" if self._architecture == "small" else self._architecture
        if self._weights is not None:
            network += " with given weights"
        if self._side is not None:
            network += f" at {self._side} px"
        if self._shift:
            network += f", moved by up to {self._shift} px"
        if self._given is not None:
            return (
                f"a network that reads originals already: {_passes(self._epochs)} on protected training images for "
                "each operating point, from the weakest level of an engine to its strongest; the better of before and "
                "after on the validation split"
            )
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
        """Learn from originals, forgetting everything before.

        Returns:
            What the network reads from originals.

        Raises:
            TrainingError: If the weights are of another network.
        """
        with reproducible_layers(generator):
            new = self._draw(max(originals.train.images.shape[2:]))
        self._new = new.to(memory_format=torch.channels_last).to(self._device)
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
            images: ``uint8``, shape ``[N, 3, H, W]``.

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
        """The untrained network for images whose longest side is so many pixels."""
        if self._given is not None:
            return copy.deepcopy(self._given)
        if self._architecture == "small":
            return AttributeClassifier(self._classes, cell=_cell(self._side or longest))
        return BackboneClassifier(self._architecture, self._classes, weights=self._weights)

    def _fit_new(self, train: AttackImages, generator: torch.Generator) -> None:
        self._fit(
            train,
            self._warm_epochs,
            _RATES[self._architecture][0],
            generator,
            growth=_GROWTH if self._side is not None else (1.0,),
        )

    def _fit(
        self,
        train: AttackImages,
        epochs: int,
        learning_rate: float,
        generator: torch.Generator,
        *,
        growth: Sequence[float] = (1.0,),
    ) -> None:
        seen = train._replace(images=self._scaled(train.images))
        with cpu_precision(self._precision):
            self._learn(seen, epochs, learning_rate, generator, growth)

    def _learn(
        self,
        train: AttackImages,
        epochs: int,
        learning_rate: float,
        generator: torch.Generator,
        growth: Sequence[float],
    ) -> None:
        """Learn from images at the network's own resolution, and before that at parts of it."""
        network = self._prepared().train()
        batch = min(_BATCH, len(train.images))
        steps = len(train.images) // batch
        optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-2, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, learning_rate, total_steps=steps * epochs, pct_start=0.2
        )
        longest, done = max(train.images.shape[2:]), 0
        for _ in range(epochs):
            order = torch.randperm(len(train.images), generator=generator)[: steps * batch]
            for rows in while_wanted(torch.split(order, batch)):
                side = max(_LEAST_SIDE, longest * growth[done * len(growth) // (steps * epochs)])
                seen = _resized(train.images[rows], min(side, longest))
                logits = self._logits(_moved(seen, self._shift, generator))
                done += 1
                labels = train.labels[rows].to(self._device)
                losses = [
                    nn.functional.cross_entropy(each, column, ignore_index=-1, reduction="sum")
                    for each, column in zip(logits, labels.T, strict=True)
                ]
                optimizer.zero_grad(set_to_none=True)
                (torch.stack(losses).sum() / batch).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
        order = torch.randperm(len(train.images), generator=generator)
        update_bn(network, self._logits, train.images[order])

    def _logits(self, images: Tensor) -> tuple[Tensor, ...]:
        pixels = images.to(self._device, memory_format=torch.channels_last).float().div_(255)
        logits: tuple[Tensor, ...] = self._prepared()(pixels)
        return logits

    def _scaled(self, images: Tensor) -> Tensor:
        """Scale images, ``uint8``, to the resolution at which the network looks."""
        return images if self._side is None else _resized(images, self._side)

    def _prepared(self) -> nn.Module:
        if self._network is None:
            raise ValueError("the attacker must see originals first: call prepare()")
        return self._network


class FixedClassifier:
    """A network that reads as it stands: training's own assessor, which no attacker should fall behind.

    Args:
        network: Maps images ``[B, 3, H, W]`` in [0, 1] to logits ``[B, K_a]`` of each attribute.
        name: What a report calls it.
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
    """Cells for images of a size; with those of 2, large ones take most of an evaluation's time.

    From 3,000 staff cards of 320 pixels, the network with cells of 8 reads as much as that with cells of 4 (gender 0.60
    and 0.60, race 0.23 and 0.22), in half the time.
    """
    if longest <= OVERVIEW_SIDE:
        return 2
    return 4 if longest < 2 * OVERVIEW_SIDE else 8


def _passes(epochs: int) -> str:
    return "1 epoch" if epochs == 1 else f"{epochs} epochs"


def _resized(images: Tensor, longest: float) -> Tensor:
    """Scale images, ``uint8``, so that their longest side is about ``longest``, and both sides multiples of 8."""
    factor = longest / max(images.shape[2:])
    size = [max(8, round(length * factor / 8) * 8) for length in images.shape[2:]]
    if size == list(images.shape[2:]):
        return images
    return nn.functional.interpolate(images, size, mode="bilinear", antialias=True)


def _moved(images: Tensor, furthest: int, generator: torch.Generator) -> Tensor:
    """Move images, all alike, by up to so many pixels to either side; what comes in repeats their edges."""
    if not furthest:
        return images
    height, width = images.shape[2:]
    down, right = torch.randint(-furthest, furthest + 1, (2,), generator=generator).tolist()
    rows = (torch.arange(height) - down).clamp(0, height - 1)
    columns = (torch.arange(width) - right).clamp(0, width - 1)
    return images[:, :, rows][..., columns]


def _probabilities(logits: Callable[[Tensor], tuple[Tensor, ...]], images: Tensor) -> Tensor:
    """Probabilities of the classes, ``[N, A, K]``; see :class:`Scores`."""
    parts = []
    for part in while_wanted(torch.split(images, _READ_BATCH)):
        each = [values.softmax(dim=1) for values in logits(part)]
        widest = max(values.shape[1] for values in each)
        parts.append(torch.stack([nn.functional.pad(p, (0, widest - p.shape[1])) for p in each], dim=1))
    return torch.cat(parts).cpu()


def combine(candidates: Sequence[Scores], labels: Tensor) -> tuple[Scores, Tensor]:
    """Take each attribute from the candidate that reads the validation images best.

    That is the one with most of them right; among equals, the one that gives the true classes more probability.

    Args:
        candidates: At least one.
        labels: Classes of the validation images, shape ``[N, A]``, ``-1`` where unknown.

    Returns:
        The combined scores, and which candidate each attribute was taken from, shape ``[A]``.
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
    """From ``[C, N, A, K]``, each attribute of one candidate: ``[N, A, K]``."""
    return scores[choice, :, torch.arange(len(choice))].transpose(0, 1)
